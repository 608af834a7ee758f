//! The screen, drawn: a side bar with rooms and members, what was said, the connection's state, the line being typed.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::edit::Edit;
use super::place::{Entry, Mood, Place};
use super::view::{Link, View};
use super::wrap::wrap;
use crate::told::{count, seconds};

/// Columns of the side bar, its border included; on screens narrower than three times that there is none.
const SIDE: u16 = 22;
/// What stands before the line being typed.
const PROMPT: &str = "> ";

/// Draws everything. `time_of_day` writes milliseconds since the Unix epoch as people do. Returns how many messages
/// and remarks are in sight, at least 1.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    view: &View,
    edit: &Edit,
    now: Instant,
    time_of_day: &dyn Fn(u64) -> String,
) -> usize {
    let all = frame.area();
    let side = if all.width >= 3 * SIDE { SIDE } else { 0 };
    // The three last rows: who writes, the state, the input. On a very low screen the input is what stays.
    let row = |from_bottom: u16| Rect::new(0, all.height.saturating_sub(from_bottom), all.width, 1);
    let height = all.height.saturating_sub(3);
    let (left, main) = (Rect::new(0, 0, side, height), Rect::new(side, 0, all.width - side, height));
    draw_side(frame, left, view);
    let shown = view.here().map_or(0, |place| draw_entries(frame, main, place, time_of_day));
    if all.height > 2 {
        put(frame, Rect { x: side, ..row(3) }, typing(view, now).patch_style(Modifier::DIM));
    }
    if all.height > 1 {
        put(frame, row(2), state(view, now, usize::from(all.width)));
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
    let places = usize::from(area.height / 2).min(view.places.len());
    let first = view.current.saturating_sub(places.saturating_sub(1));
    let names = view.places.iter().enumerate().skip(first).take(places).map(|(index, place)| {
        let unread = if place.unread > 0 { format!(" ({})", place.unread) } else { String::new() };
        let (mark, style) = match (index == view.current, place.unread) {
            (true, _) => (">", Style::new().add_modifier(Modifier::BOLD)),
            (false, 0) => (" ", Style::new()),
            (false, _) => (" ", Style::new().fg(Color::Yellow)),
        };
        // The number must not be what is cut off.
        let columns = usize::from(inner.width).saturating_sub(1 + unread.len());
        let name: String = place.name.to_string().chars().take(columns).collect();
        Line::styled(format!("{mark}{name}{unread}"), style)
    });
    let members = view.here().into_iter().flat_map(|place| {
        let head = (place.members > 0).then(|| Line::from(format!(" {}", count(place.members, "member"))));
        let head = head.map(|line| [Line::default(), line.patch_style(Modifier::DIM)]);
        let users = place.users.iter().map(|user| Line::from(format!(" {user}")));
        head.into_iter().flatten().chain(users)
    });
    for (y, line) in (area.y..area.bottom()).zip(names.chain(members)) {
        put(frame, Rect { y, height: 1, ..inner }, line);
    }
    for y in area.y..area.bottom() {
        put(frame, Rect::new(area.right() - 2, y, 1, 1), Line::from("│").patch_style(Modifier::DIM));
    }
}

/// From the bottom upwards; returns how many are in sight.
fn draw_entries(
    frame: &mut Frame<'_>,
    area: Rect,
    place: &Place,
    time_of_day: &dyn Fn(u64) -> String,
) -> usize {
    let mut shown = 0;
    let mut rows_left = area.height;
    for entry in place.entries.iter().rev().skip(place.scrolled) {
        if rows_left == 0 {
            break;
        }
        shown += 1;
        let lines = lines_of(entry, usize::from(area.width), time_of_day);
        for line in lines.into_iter().rev().take(usize::from(rows_left)) {
            rows_left -= 1;
            put(frame, Rect { y: area.y + rows_left, height: 1, ..area }, line);
        }
    }
    shown
}

fn lines_of(entry: &Entry, columns: usize, time_of_day: &dyn Fn(u64) -> String) -> Vec<Line<'static>> {
    let (time, text, name, style) = match entry {
        Entry::Said { user, text, ts_ms, .. } => {
            (time_of_day(*ts_ms), format!("{user}: {text}"), user.len() + 1, Style::new())
        }
        Entry::Remark { text, mood } => ("--".into(), text.clone(), 0, style_of(*mood)),
    };
    // The time of day has five columns; what does not fit behind it goes on under the text.
    let rows = wrap(&text, columns.saturating_sub(6));
    let line = |(index, row): (usize, String)| {
        let (before, name) = if index == 0 { (&*time, name.min(row.len())) } else { ("", 0) };
        let (name, rest) = row.split_at_checked(name).unwrap_or(("", &row));
        let before = Span::styled(format!("{before:>5} "), Modifier::DIM);
        let name = Span::styled(name.to_owned(), Modifier::BOLD);
        Line::from(vec![before, name, Span::styled(rest.to_owned(), style)])
    };
    rows.into_iter().enumerate().map(line).collect()
}

const fn style_of(mood: Mood) -> Style {
    match mood {
        Mood::Plain => Style::new().add_modifier(Modifier::DIM),
        Mood::Good => Style::new().fg(Color::Green),
        Mood::Bad => Style::new().fg(Color::Red),
    }
}

fn typing(view: &View, now: Instant) -> Line<'static> {
    let names: Vec<_> =
        view.here().into_iter().flat_map(|place| place.typing(now)).map(|u| u.as_str()).collect();
    Line::from(match names.len() {
        0 => String::new(),
        1 => format!("{} is typing …", names[0]),
        _ => format!("{} are typing …", names.join(", ")),
    })
}

/// The connection's state, and what happened last: always in sight, whatever is looked at.
fn state(view: &View, now: Instant, columns: usize) -> Line<'static> {
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
    let scrolled = view.here().map_or(0, |place| place.scrolled);
    let below = (scrolled > 0).then(|| format!(" | {scrolled} below").into());
    let remark = view.remark.as_ref().map(|(text, mood)| Span::styled(format!(" | {text}"), style_of(*mood)));
    let state = Span::styled(format!(" {text}"), Style::new().fg(color));
    let mut line: Line<'_> = [Some(state), remark, below].into_iter().flatten().collect();
    // To the right edge, so that it is one bar.
    line.push_span(" ".repeat(columns.saturating_sub(line.width())));
    line.patch_style(Modifier::REVERSED)
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, edit: &Edit) {
    let prompt = u16::try_from(PROMPT.len()).unwrap_or(0).min(area.width);
    let (text, column) = edit.window(usize::from(area.width - prompt));
    put(frame, area, Line::from(vec![Span::from(PROMPT), Span::from(text.to_owned())]));
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    frame.set_cursor_position(Position::new(prompt.saturating_add(column), area.y));
}
