//! How wide a text is drawn, by a table of its own: nothing here can ask a browser.
//!
//! The table is of a wide sans-serif face. Those that readers have are as wide or narrower, so what fits here fits there.

/// The fonts that a picture asks for.
pub(super) const FAMILY: &str = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/// Widths of the letters from the space to the tilde, in thousandths of the font's size.
const WIDTHS: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, // space to /
    636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, // 0 to ?
    1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787, // @ to O
    603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, // P to _
    500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, // ` to o
    635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838, // p to ~
];

/// How thick the strokes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Plain,
    Bold,
}

/// How wide a text is in a size.
pub(super) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let thousandths: u32 = text.chars().map(letter).sum();
    let broad = match weight {
        Weight::Plain => 1.0,
        Weight::Bold => 1.12,
    };
    f64::from(thousandths) / 1000.0 * size * broad
}

fn letter(letter: char) -> u32 {
    let code = u32::from(letter);
    match code {
        0x20..=0x7e => usize::try_from(code - 0x20).map_or(1000, |index| u32::from(WIDTHS[index])),
        0x2010..=0x2014 | 0x2026 | 0x2190..=0x2193 => 1000,
        0x2018..=0x203a => 420,
        // Accented Latin, then the other alphabets at their widest, then scripts of whole squares.
        0x00a0..=0x024f => 1000,
        0x0250..=0x10ff => 1050,
        _ => 1200,
    }
}

/// The text, cut off with `…` where it is wider than the room there is.
pub(super) fn fitted(text: &str, size: f64, weight: Weight, room: f64) -> String {
    let text = clean(text);
    if width(&text, size, weight) <= room {
        return text;
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width(&kept, size, weight) + width("…", size, weight) > room {
            kept.pop();
            break;
        }
    }
    format!("{}…", kept.trim_end())
}

/// The text in lines, at most so many; the last is cut off where there is more.
pub(super) fn wrapped(text: &str, size: f64, weight: Weight, room: f64, most: usize) -> Vec<String> {
    let text = clean(text);
    let mut lines: Vec<String> = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let mut line = word.to_owned();
        if lines.len() + 1 == most {
            for word in words.by_ref() {
                line = format!("{line} {word}");
            }
            lines.push(fitted(&line, size, weight, room));
            break;
        }
        while let Some(next) = words.peek() {
            let longer = format!("{line} {next}");
            if width(&longer, size, weight) > room {
                break;
            }
            line = longer;
            words.next();
        }
        lines.push(fitted(&line, size, weight, room));
    }
    lines
}

/// Without line breaks, and without what XML cannot hold or what turns the direction of writing.
fn clean(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().filter(|letter| is_drawn(*letter)).collect()
}

fn is_drawn(letter: char) -> bool {
    let unseen = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !letter.is_control() && !unseen && !matches!(letter, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A text as XML holds it.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| *letter == '\n' || is_drawn(*letter)) {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_that_fits_is_left_alone_and_a_longer_one_is_cut() {
        assert_eq!(fitted("deploy", 12.0, Weight::Plain, 100.0), "deploy");
        assert_eq!(fitted("deploy the bypass", 12.0, Weight::Plain, 70.0), "deploy th…");
        let lines = wrapped("Set the bypass for the next deployment of the shop", 11.0, Weight::Plain, 120.0, 2);
        assert_eq!((lines.len(), lines[0].as_str()), (2, "Set the bypass for"));
        assert!(lines[1].starts_with("the next deploym") && lines[1].ends_with('…'), "{lines:?}");
    }

    proptest! {
        #[test]
        fn what_is_fitted_fits_whatever_it_is_made_of(text: String, room in 20.0..300.0f64) {
            prop_assert!(width(&fitted(&text, 11.0, Weight::Bold, room), 11.0, Weight::Bold) <= room);
            for line in wrapped(&text, 11.0, Weight::Plain, room, 3) {
                prop_assert!(width(&line, 11.0, Weight::Plain) <= room);
            }
        }

        #[test]
        fn nothing_escapes_from_an_attribute_or_an_element(text: String) {
            let safe = escaped(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            prop_assert!(safe.chars().all(|letter| letter == '\n' || !letter.is_control()));
        }
    }
}
