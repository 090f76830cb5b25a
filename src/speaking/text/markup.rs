//! The characters of a text that are read, with their places: no Markdown, tags, emoji, controls.
//!
//! Where the layout parts sentences (a heading, a paragraph, a list item, a table's cell) a
//! [`BREAK`] or [`CELL`] stands, at the place of the layout's own character.

/// Ends what stands before it as a full stop does.
pub(super) const BREAK: char = '\u{2029}';
/// Parts what stands around it as a comma does.
pub(super) const CELL: char = '\u{2028}';

/// The characters that are read, with their places in the text.
pub(super) fn visible(text: &str) -> Vec<(usize, char)> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut out = Vec::with_capacity(chars.len());
    let mut line_start = true;
    // In a heading or list item, which ends with its line.
    let mut line_is_unit = false;
    let mut table = false;
    let mut at = 0;
    while let Some(&(place, c)) = chars.get(at) {
        if line_start && !c.is_whitespace() {
            let line = line(&chars[at..]);
            if is_fence(line) || is_rule(line) {
                out.push((place, BREAK));
                at += line.len();
                continue;
            }
            table = c == '|';
            if starts_unit(line) {
                out.push((place, BREAK));
                line_is_unit = true;
            }
        }
        let skip = hidden(&chars[at..], line_start);
        if skip > 0 {
            at += skip;
            continue;
        }
        if c == '\n' {
            let blank = chars[at + 1..].iter().take_while(|(_, c)| c.is_whitespace());
            let ends = line_is_unit || table || blank.into_iter().any(|(_, c)| *c == '\n');
            out.push((place, if ends { BREAK } else { ' ' }));
            (line_start, line_is_unit) = (true, false);
            at += 1;
            continue;
        }
        if !c.is_whitespace() {
            line_start = false;
        }
        if c.is_whitespace() || is_picture(c) {
            // A picture parts words as a space does.
            out.push((place, ' '));
        } else if table && c == '|' {
            out.push((place, CELL));
        } else if !is_invisible(c) {
            out.push((place, c));
        }
        at += 1;
    }
    out
}

fn line(chars: &[(usize, char)]) -> &[(usize, char)] {
    let end = chars.iter().position(|(_, c)| *c == '\n').unwrap_or(chars.len());
    &chars[..end]
}

/// "```rust", "~~~": the code inside is read, the fence is not.
fn is_fence(line: &[(usize, char)]) -> bool {
    let first = line[0].1;
    let run = line.iter().take_while(|(_, c)| *c == first).count();
    matches!(first, '`' | '~')
        && run >= 3
        && line[run..].iter().all(|(_, c)| c.is_alphanumeric() || " -_+#.\r".contains(*c))
}

/// `---`, `***`, `===`, and the line under a table's head.
fn is_rule(line: &[(usize, char)]) -> bool {
    line.len() >= 3 && line.iter().all(|(_, c)| "-*_=|: \r".contains(*c)) && {
        line.iter().filter(|(_, c)| "-*_=".contains(*c)).count() >= 3
    }
}

/// A heading, a list item or a quotation.
fn starts_unit(line: &[(usize, char)]) -> bool {
    let is = |index: usize, wanted: &str| line.get(index).is_some_and(|(_, c)| wanted.contains(*c));
    let hashes = line.iter().take_while(|(_, c)| *c == '#').count();
    let digits = line.iter().take_while(|(_, c)| c.is_ascii_digit()).count();
    hashes > 0 && is(hashes, " ")
        || is(0, "-*+•") && is(1, " ")
        || (1..=3).contains(&digits) && is(digits, ".)") && is(digits + 1, " ")
}

/// How many characters from here on are markup.
fn hidden(chars: &[(usize, char)], line_start: bool) -> usize {
    let is = |index: usize, wanted: char| chars.get(index).is_some_and(|(_, c)| *c == wanted);
    let run = |wanted: char| chars.iter().take_while(|(_, c)| *c == wanted).count();
    let space_at = |index: usize| chars.get(index).is_none_or(|(_, c)| c.is_whitespace());
    match chars[0].1 {
        '`' => 1,
        '*' if run('*') >= 2 || !line_start || space_at(1) => run('*'),
        '~' if run('~') >= 2 => run('~'),
        '_' if run('_') >= 2 => run('_'),
        '#' if line_start && space_at(run('#')) => run('#'),
        '>' | '-' | '+' | '•' if line_start && space_at(1) => 1,
        // A link: only its text is read.
        '[' if closing(chars, 1, ']').is_some_and(|end| is(end + 1, '(')) => 1,
        // A link's target: `](…)`.
        ']' if is(1, '(') => closing(chars, 2, ')').map_or(0, |end| end + 1),
        '!' if is(1, '[') && closing(chars, 2, ']').is_some() => 1,
        '<' if chars.get(1).is_some_and(|(_, c)| c.is_ascii_alphabetic() || *c == '/') => {
            // `<https://…>` is an address, not a tag.
            let end = closing(chars, 1, '>').map_or(0, |end| end + 1);
            let inside = chars.get(1..end).unwrap_or_default();
            if inside.iter().any(|(_, c)| matches!(c, ':' | '@')) { 1 } else { end }
        }
        _ => 0,
    }
}

/// Where `wanted` comes on the same line, not too far on.
fn closing(chars: &[(usize, char)], from: usize, wanted: char) -> Option<usize> {
    const FARTHEST: usize = 400;
    let rest = chars.get(from..)?.iter().take(FARTHEST);
    let found = rest.take_while(|(_, c)| *c != '\n').position(|(_, c)| *c == wanted)?;
    Some(from + found)
}

/// Emoji, dingbats, arrows, boxes: nothing to read.
fn is_picture(c: char) -> bool {
    matches!(u32::from(c),
        0x2190..=0x21ff | 0x2300..=0x27bf | 0x2900..=0x297f | 0x2b00..=0x2bff
        | 0x1f000..=0x1faff | 0xe000..=0xf8ff | 0xf0000..=0x10ffff)
}

/// Characters without a width of their own, and controls other than white space.
fn is_invisible(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
        || matches!(u32::from(c),
            0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f
            | 0x20e3 | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xffff | 0xe0000..=0xe0fff)
}
