//! Two versions of a text as a unified diff, as `diff -u` and `git` print it.

/// Lines that are shown around what differs.
const AROUND: usize = 3;
/// Above so many pairs of lines, everything between the first and the last difference counts as one.
const MOST_PAIRS: usize = 16_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// The diff from one text to the other; nothing when they are the same.
pub(super) fn unified(name: &str, before: &str, after: &str) -> String {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let edits = edits(&old, &new);
    let changed: Vec<usize> = (0..edits.len()).filter(|at| edits[*at] != Edit::Keep).collect();
    if changed.is_empty() {
        return String::new();
    }
    let mut hunks: Vec<std::ops::Range<usize>> = Vec::new();
    for at in &changed {
        match hunks.last_mut() {
            Some(hunk) if *at <= hunk.end + 2 * AROUND => hunk.end = at + 1,
            _ => hunks.push(*at..at + 1),
        }
    }
    let mut text = format!("--- {name}\n+++ {name}\n");
    let (mut old_at, mut new_at, mut at) = (0, 0, 0);
    for hunk in hunks {
        let (start, end) = (hunk.start.saturating_sub(AROUND), (hunk.end + AROUND).min(edits.len()));
        for edit in &edits[at..start] {
            old_at += usize::from(*edit != Edit::Add);
            new_at += usize::from(*edit != Edit::Remove);
        }
        let (old_from, new_from) = (old_at, new_at);
        let mut lines = String::new();
        for edit in &edits[start..end] {
            let (mark, line) = match edit {
                Edit::Keep | Edit::Remove => (if *edit == Edit::Keep { ' ' } else { '-' }, old[old_at]),
                Edit::Add => ('+', new[new_at]),
            };
            old_at += usize::from(*edit != Edit::Add);
            new_at += usize::from(*edit != Edit::Remove);
            lines.push(mark);
            lines.push_str(line);
            if !line.ends_with('\n') {
                lines.push_str("\n\\ No newline at end of file\n");
            }
        }
        let range = |from: usize, to: usize| format!("{},{}", if from == to { from } else { from + 1 }, to - from);
        text.push_str(&format!("@@ -{} +{} @@\n{lines}", range(old_from, old_at), range(new_from, new_at)));
        at = end;
    }
    text
}

/// The shortest way from the one to the other: the longest common lines stay.
fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let same = |(one, other): &(&&str, &&str)| one == other;
    let head = old.iter().zip(new).take_while(same).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(same).count();
    let (old, new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut edits = vec![Edit::Keep; head];
    if old.len().saturating_mul(new.len()) > MOST_PAIRS {
        edits.extend(std::iter::repeat_n(Edit::Remove, old.len()));
        edits.extend(std::iter::repeat_n(Edit::Add, new.len()));
    } else {
        // How many lines stay from here on, for each pair of places.
        let width = new.len() + 1;
        let mut stay = vec![0_u32; (old.len() + 1) * width];
        for (row, line) in old.iter().enumerate().rev() {
            for (column, other) in new.iter().enumerate().rev() {
                let at = row * width + column;
                stay[at] = if line == other { stay[at + width + 1] + 1 } else { stay[at + width].max(stay[at + 1]) };
            }
        }
        let (mut row, mut column) = (0, 0);
        while row < old.len() || column < new.len() {
            let at = row * width + column;
            let edit = if row < old.len() && column < new.len() && old[row] == new[column] {
                Edit::Keep
            } else if row < old.len() && (column == new.len() || stay[at + width] >= stay[at + 1]) {
                Edit::Remove
            } else {
                Edit::Add
            };
            row += usize::from(edit != Edit::Add);
            column += usize::from(edit != Edit::Remove);
            edits.push(edit);
        }
    }
    edits.extend(std::iter::repeat_n(Edit::Keep, tail));
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_with_three_lines_around() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n13";
        let expected = "--- a\n+++ a\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n@@ -10,5 +10,4 @@\n 10\n 11\n 12\n\
                        -13\n-14\n+13\n\\ No newline at end of file\n";
        assert_eq!(unified("a", before, after), expected);
        assert_eq!(unified("a", before, before), "");
        assert_eq!(unified("a", "", "x\n"), "--- a\n+++ a\n@@ -0,0 +1,1 @@\n+x\n");
    }
}
