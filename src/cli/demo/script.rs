//! The people of a demo, and their lines.

/// The beginning of the user ids of all of them.
pub(super) const PREFIX: &str = "demo-";

/// The rooms that they are in. Everybody enters the first one first.
pub(super) const ROOMS: [&str; 3] = ["lobby", "kitchen", "telescope"];

/// The first message.
pub(super) const NOTICE: &str = "This is a demo: everybody with (demo) in the name follows a script.";

/// One of the people.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    pub(super) id: &'static str,
    /// The name that is shown.
    pub(super) name: &'static str,
    /// The room in which this one answers guests; none where it is empty.
    pub(super) answers_in: &'static str,
    /// The answers, which come in turn.
    pub(super) answers: &'static [&'static str],
}

pub(super) const CAST: [Role; 5] = [
    Role {
        id: "demo-ada",
        name: "Ada (demo)",
        answers_in: "lobby",
        answers: &[
            "your message went to everybody in this room, me included.",
            "open this page in a second window under another name, and write to yourself.",
            "end the server with Ctrl-C and start it again: this page finds it by itself.",
            "the dashboard shows each message that you write: it is one more delivery for each of us.",
        ],
    },
    Role {
        id: "demo-bjoern",
        name: "Björn (demo)",
        answers_in: "kitchen",
        answers: &["I would add more salt.", "that sounds delicious.", "twenty minutes, at 200 degrees."],
    },
    Role { id: "demo-chiyo", name: "千代 (demo)", answers_in: "", answers: &["…"] },
    Role {
        id: "demo-dmitri",
        name: "Дмитрий (demo)",
        answers_in: "telescope",
        answers: &["you need a dark place for that.", "ask again on a clear night."],
    },
    Role { id: "demo-esi", name: "Esi (demo)", answers_in: "", answers: &["…"] },
];

/// A line of the script.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) room: &'static str,
    /// The one who says it, as an index into [`CAST`].
    pub(super) by: usize,
    pub(super) text: &'static str,
}

const fn line(room: &'static str, by: usize, text: &'static str) -> Line {
    Line { room, by, text }
}

pub(super) const LINES: [Line; 24] = [
    line("lobby", 4, "Good morning! Is anybody awake?"),
    line("lobby", 0, "Since five. I am waiting for the build."),
    line("kitchen", 1, "Today there is bread. The dough has been rising since last night."),
    line("lobby", 2, "Did the tests pass?"),
    line("lobby", 0, "All of them, and nobody knows why."),
    line("telescope", 3, "Saturn was clear tonight. The rings are nearly edge-on this year."),
    line("kitchen", 4, "Wheat or rye?"),
    line("kitchen", 1, "Half and half, and a handful of seeds."),
    line("lobby", 4, "Then let us ship it before they change their minds."),
    line("telescope", 2, "Which eyepiece do you use?"),
    line("telescope", 3, "10 mm. With the shorter one the air is too restless."),
    line("kitchen", 2, "Could you write the recipe down?"),
    line("kitchen", 1, "500 g of flour, 350 g of water, 10 g of salt, and patience."),
    line("lobby", 2, "I have written down what we did. It is half a page."),
    line("lobby", 0, "Half a page is right. A whole one, and nobody reads it."),
    line("telescope", 4, "Can one see the Andromeda galaxy from a balcony?"),
    line("telescope", 3, "With binoculars, when the street lamps are off. It looks like a small cloud."),
    line("lobby", 1, "Lunch in ten minutes. I have brought bread."),
    line("lobby", 4, "Best message of the day."),
    line("kitchen", 0, "Is there any left?"),
    line("kitchen", 1, "Two slices. Run."),
    line("telescope", 2, "Last night I counted eleven meteors in an hour."),
    line("telescope", 3, "In August it is one each minute."),
    line("lobby", 0, "The build is green again. Good night, everybody."),
];
