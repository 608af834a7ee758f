//! Draws the screen: a side bar with conversations and members, the messages, the status bar, and the input line.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::conversation::{Conversation, Severity, TimelineItem};
use super::edit::LineEditor;
use super::view::{Link, View};
use super::wrap::wrap;
use crate::output::{count, seconds};

/// Columns of the side bar, its border included. Screens narrower than three times that have no side bar.
const SIDE: u16 = 22;
/// The text before the input line.
const PROMPT: &str = "> ";

/// Draws the whole screen. `time_of_day` formats milliseconds since the Unix epoch as a time of day. Returns the number
/// of messages and notices that are visible, at least 1.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    view: &View,
    edit: &LineEditor,
    now: Instant,
    time_of_day: &dyn Fn(u64) -> String,
) -> usize {
    let all = frame.area();
    let side = if all.width >= 3 * SIDE { SIDE } else { 0 };
    // The last three rows are the typing users, the status bar and the input line. A very low screen keeps the input
    // line.
    let row = |from_bottom: u16| Rect::new(0, all.height.saturating_sub(from_bottom), all.width, 1);
    let height = all.height.saturating_sub(3);
    let (left, main) = (Rect::new(0, 0, side, height), Rect::new(side, 0, all.width - side, height));
    draw_side(frame, left, view);
    let shown =
        view.selected().map_or(0, |conversation| draw_timeline(frame, main, conversation, time_of_day));
    if all.height > 2 {
        put(frame, Rect { x: side, ..row(3) }, typing(view, now).patch_style(Modifier::DIM));
    }
    if all.height > 1 {
        put(frame, row(2), status_bar(view, now, usize::from(all.width)));
    }
    draw_input(frame, row(1), edit);
    shown.max(1)
}

fn put(frame: &mut Frame<'_>, area: Rect, line: Line<'_>) {
    frame.render_widget(line, area.intersection(frame.area()));
}

fn draw_side(frame: &mut Frame<'_>, area: Rect, view: &View) {
    if area.is_empty() {
        return;
    }
    let inner = Rect { width: area.width - 2, ..area };
    let conversations = usize::from(area.height / 2).min(view.conversations.len());
    let first = view.current.saturating_sub(conversations.saturating_sub(1));
    let names =
        view.conversations.iter().enumerate().skip(first).take(conversations).map(|(index, conversation)| {
            let unread =
                if conversation.unread > 0 { format!(" ({})", conversation.unread) } else { String::new() };
            let (mark, style) = match (index == view.current, conversation.unread) {
                (true, _) => (">", Style::new().add_modifier(Modifier::BOLD)),
                (false, 0) => (" ", Style::new()),
                (false, _) => (" ", Style::new().fg(Color::Yellow)),
            };
            // A long name is cut, so that the number stays visible.
            let columns = usize::from(inner.width).saturating_sub(1 + unread.len());
            let name: String = conversation.name.to_string().chars().take(columns).collect();
            Line::styled(format!("{mark}{name}{unread}"), style)
        });
    let members = view.selected().into_iter().flat_map(|conversation| {
        let header = (conversation.members > 0)
            .then(|| Line::from(format!(" {}", count(conversation.members, "member"))));
        let header = header.map(|line| [Line::default(), line.patch_style(Modifier::DIM)]);
        let users = conversation.users.iter().map(|user| Line::from(format!(" {user}")));
        header.into_iter().flatten().chain(users)
    });
    for (y, line) in (area.y..area.bottom()).zip(names.chain(members)) {
        put(frame, Rect { y, height: 1, ..inner }, line);
    }
    for y in area.y..area.bottom() {
        put(frame, Rect::new(area.right() - 2, y, 1, 1), Line::from("│").patch_style(Modifier::DIM));
    }
}

/// Draws messages and notices from the bottom upwards. Returns how many are visible.
fn draw_timeline(
    frame: &mut Frame<'_>,
    area: Rect,
    conversation: &Conversation,
    time_of_day: &dyn Fn(u64) -> String,
) -> usize {
    let mut shown = 0;
    let mut rows_left = area.height;
    for item in conversation.timeline.iter().rev().skip(conversation.scrolled) {
        if rows_left == 0 {
            break;
        }
        shown += 1;
        let lines = lines_of(item, usize::from(area.width), time_of_day);
        for line in lines.into_iter().rev().take(usize::from(rows_left)) {
            rows_left -= 1;
            put(frame, Rect { y: area.y + rows_left, height: 1, ..area }, line);
        }
    }
    shown
}

/// Returns the lines of an item, broken to the given number of columns.
fn lines_of(item: &TimelineItem, columns: usize, time_of_day: &dyn Fn(u64) -> String) -> Vec<Line<'static>> {
    let (time, text, name, style) = match item {
        TimelineItem::Message { user, name: None, text, ts_ms, .. } => {
            (time_of_day(*ts_ms), format!("{user}: {text}"), user.len() + 1, Style::new())
        }
        // The name stands behind the user id, which it cannot replace: anybody may have it.
        TimelineItem::Message { user, name: Some(name), text, ts_ms, .. } => {
            (time_of_day(*ts_ms), format!("{user} ({name}): {text}"), user.len(), Style::new())
        }
        TimelineItem::Notice { text, severity } => ("--".into(), text.clone(), 0, style_of(*severity)),
    };
    // The time of day takes five columns and a blank; further lines of the text are indented by as much.
    let rows = wrap(&text, columns.saturating_sub(6));
    let line = |(index, row): (usize, String)| {
        let (time, name) = if index == 0 { (&*time, name.min(row.len())) } else { ("", 0) };
        let (name, rest) = row.split_at_checked(name).unwrap_or(("", &row));
        let time = Span::styled(format!("{time:>5} "), Modifier::DIM);
        let name = Span::styled(name.to_owned(), Modifier::BOLD);
        Line::from(vec![time, name, Span::styled(rest.to_owned(), style)])
    };
    rows.into_iter().enumerate().map(line).collect()
}

const fn style_of(severity: Severity) -> Style {
    match severity {
        Severity::Info => Style::new().add_modifier(Modifier::DIM),
        Severity::Success => Style::new().fg(Color::Green),
        Severity::Error => Style::new().fg(Color::Red),
    }
}

/// Returns the line that names the typing users of the selected conversation.
fn typing(view: &View, now: Instant) -> Line<'static> {
    let names: Vec<_> = view
        .selected()
        .into_iter()
        .flat_map(|conversation| conversation.typing(now))
        .map(|u| u.as_str())
        .collect();
    Line::from(match names.len() {
        0 => String::new(),
        1 => format!("{} is typing …", names[0]),
        _ => format!("{} are typing …", names.join(", ")),
    })
}

/// Returns the status bar: the state of the connection and the last notice, whichever conversation is selected.
fn status_bar(view: &View, now: Instant, columns: usize) -> Line<'static> {
    let (text, color) = match &view.link {
        Link::Connecting { attempt: 0 } => ("connecting".into(), Color::Yellow),
        Link::Connecting { attempt } => (format!("connecting, attempt {}", attempt + 1), Color::Yellow),
        Link::Online => (format!("connected as {}", view.me), Color::Green),
        Link::Waiting { until, reason } => {
            let ms = until.saturating_duration_since(now).as_millis();
            let wait = seconds(u64::try_from(ms).unwrap_or(u64::MAX));
            (format!("reconnecting in {wait}: {reason}"), Color::Yellow)
        }
        Link::Stopped { reason } => (format!("stopped: {reason} (Ctrl-C leaves)"), Color::Red),
    };
    let scrolled = view.selected().map_or(0, |conversation| conversation.scrolled);
    let below = (scrolled > 0).then(|| format!(" | {scrolled} below").into());
    let notice =
        view.status.as_ref().map(|(text, severity)| Span::styled(format!(" | {text}"), style_of(*severity)));
    let state = Span::styled(format!(" {text}"), Style::new().fg(color));
    let mut line: Line<'_> = [Some(state), notice, below].into_iter().flatten().collect();
    // Filled up to the right edge, so that it looks like a bar.
    line.push_span(" ".repeat(columns.saturating_sub(line.width())));
    line.patch_style(Modifier::REVERSED)
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, edit: &LineEditor) {
    let prompt = u16::try_from(PROMPT.len()).unwrap_or(0).min(area.width);
    let (text, column) = edit.window(usize::from(area.width - prompt));
    put(frame, area, Line::from(vec![Span::from(PROMPT), Span::from(text.to_owned())]));
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    frame.set_cursor_position(Position::new(prompt.saturating_add(column), area.y));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_behind_the_user_id_which_alone_is_bold() {
        let (user, name) = ("ann".parse().unwrap(), "Ann: \u{fc}".parse().unwrap());
        let item = TimelineItem::message(&user, "hi\u{1b}", 0, None);
        for (item, id, rest) in [
            (item.clone(), "ann:", " hi\\x1b"),
            (item.clone().named(Some(&name)), "ann", " (Ann: \u{fc}): hi\\x1b"),
            (item.named(None), "ann:", " hi\\x1b"),
        ] {
            let lines = lines_of(&item, 80, &|_| "12:34".into());
            let spans: Vec<&str> = lines[0].spans.iter().map(|span| &*span.content).collect();
            assert_eq!((lines.len(), spans), (1, vec!["12:34 ", id, rest]));
        }
    }
}
