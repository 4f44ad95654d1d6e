//! Places boxes in layers from left to right, and ways between them that cross no box.
//!
//! The layers are those of the plan. A way that passes a layer is given a lane of its own between the boxes there, so in
//! a column a way runs straight, and it bends only in the gaps between columns, where no box stands. Layers that do not
//! fit beside each other go on in a row below, as the words of a text do.

use std::collections::BTreeMap;

/// Between two boxes of a column.
const BETWEEN: f64 = 20.0;
/// Between a lane and its neighbour.
const LANE: f64 = 12.0;
/// Between columns, where no label needs more.
const GAP: f64 = 52.0;
/// What a bend needs of a gap, beside a label.
const BEND: f64 = 40.0;
/// Between two ways that run side by side around the end of a row.
const TRACK: f64 = 9.0;
/// Around the rows.
const MARGIN: f64 = 24.0;
/// Between two ways that leave a box.
const PORT: f64 = 15.0;
/// How many boxes stand above each other before a layer is made two.
const TALLEST: usize = 10;
/// How strongly a stop keeps to the middle of its column.
const HOME: f64 = 0.12;
/// How often the order within the layers is bettered.
const SWEEPS: usize = 12;

/// A box to be placed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Its layer; ways lead to higher ones.
    pub(super) layer: usize,
}

/// A way from one box to another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    /// What it is labelled with; ways of one box with the same label leave it together.
    pub(super) label: String,
    /// How wide the label is.
    pub(super) label_width: f64,
}

/// A place on the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A box that is placed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    pub(super) fn right(&self) -> f64 {
        self.x + self.width
    }

    #[cfg(test)]
    fn bottom(&self) -> f64 {
        self.y + self.height
    }

    fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// A part of a way, from the point before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Piece {
    /// Straight to here.
    Line(Point),
    /// Level at both ends, within the gap between two columns.
    Curve(Point),
}

impl Piece {
    pub(super) fn end(self) -> Point {
        match self {
            Self::Line(point) | Self::Curve(point) => point,
        }
    }
}

/// A way that is placed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    pub(super) start: Point,
    pub(super) pieces: Vec<Piece>,
    /// Where the label begins, if there is one; the text stands on the way.
    pub(super) label: Option<Point>,
}

/// Everything placed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) boxes: Vec<Rect>,
    /// One for each link, in their order.
    pub(super) routes: Vec<Route>,
}

/// A box or a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    Box(usize),
    Lane(usize),
}

/// A step of a way from a layer to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hop {
    from: usize,
    to: usize,
}

struct Grid {
    stops: Vec<Stop>,
    /// The layer of each stop.
    layer: Vec<usize>,
    /// The stops of each layer, from top to bottom.
    layers: Vec<Vec<usize>>,
    hops: Vec<Hop>,
    /// The stops that each link passes, its ends included.
    paths: Vec<Vec<usize>>,
}

/// Places everything, no row wider than `widest` where that can be.
pub(super) fn layout(items: &[Item], links: &[Link], widest: f64) -> Layout {
    if items.is_empty() {
        return Layout { width: 0.0, height: 0.0, boxes: Vec::new(), routes: Vec::new() };
    }
    let mut grid = Grid::new(items, links);
    grid.order();
    let ports = Ports::new(items, links);
    let columns = columns(&grid, items, links);
    let rows = rows(&columns, widest);
    place(&grid, items, links, &ports, &columns, &rows)
}

impl Grid {
    fn new(items: &[Item], links: &[Link]) -> Self {
        let levels = levels(items);
        let deepest = levels.iter().copied().max().unwrap_or(0);
        let mut grid = Self {
            stops: (0..items.len()).map(Stop::Box).collect(),
            layer: levels.clone(),
            layers: vec![Vec::new(); deepest + 1],
            hops: Vec::new(),
            paths: Vec::new(),
        };
        for (index, level) in levels.iter().enumerate() {
            grid.layers[*level].push(index);
        }
        let mut leaving: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let mut arriving: BTreeMap<usize, usize> = BTreeMap::new();
        for link in links {
            *leaving.entry((link.from, &link.label)).or_default() += 1;
            *arriving.entry(link.to).or_default() += 1;
        }
        // Ways that leave a box together, or arrive at one together, share their lanes.
        let mut lanes: BTreeMap<(bool, usize, &str, usize), usize> = BTreeMap::new();
        let mut hops = std::collections::BTreeSet::new();
        for link in links {
            let together = leaving[&(link.from, link.label.as_str())] >= arriving[&link.to];
            let mut path = vec![link.from];
            for level in levels[link.from] + 1..levels[link.to] {
                let key =
                    if together { (true, link.from, link.label.as_str(), level) } else { (false, link.to, "", level) };
                let lane = *lanes.entry(key).or_insert_with(|| {
                    let lane = grid.stops.len();
                    grid.stops.push(Stop::Lane(lane));
                    grid.layer.push(level);
                    grid.layers[level].push(lane);
                    lane
                });
                path.push(lane);
            }
            path.push(link.to);
            for pair in path.windows(2) {
                hops.insert(Hop { from: pair[0], to: pair[1] });
            }
            grid.paths.push(path);
        }
        grid.hops = hops.into_iter().collect();
        grid
    }

    /// Orders each layer so that few ways cross: every stop goes to where those it is joined to stand, on the average.
    fn order(&mut self) {
        let (mut before, mut after) = (vec![Vec::new(); self.stops.len()], vec![Vec::new(); self.stops.len()]);
        for hop in &self.hops {
            after[hop.from].push(hop.to);
            before[hop.to].push(hop.from);
        }
        let mut best = self.layers.clone();
        let mut fewest = self.crossings();
        for sweep in 0..SWEEPS {
            if fewest == 0 {
                break;
            }
            let forwards = sweep % 2 == 0;
            let joined = if forwards { &before } else { &after };
            let mut levels: Vec<usize> = (0..self.layers.len()).collect();
            if !forwards {
                levels.reverse();
            }
            for level in levels {
                let position = self.positions();
                let mut sorted: Vec<(f64, usize, usize)> = self.layers[level]
                    .iter()
                    .enumerate()
                    .map(|(index, stop)| (average(&joined[*stop], &position).unwrap_or(position[*stop]), index, *stop))
                    .collect();
                sorted.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
                self.layers[level] = sorted.into_iter().map(|(_, _, stop)| stop).collect();
            }
            let crossings = self.crossings();
            if crossings < fewest {
                fewest = crossings;
                best.clone_from(&self.layers);
            }
        }
        self.layers = best;
    }

    /// Where each stop stands in its layer, from 0 at the top to 1 at the bottom.
    fn positions(&self) -> Vec<f64> {
        let mut positions = vec![0.0; self.stops.len()];
        for layer in &self.layers {
            for (index, stop) in layer.iter().enumerate() {
                positions[*stop] = (as_float(index) + 0.5) / as_float(layer.len());
            }
        }
        positions
    }

    fn crossings(&self) -> usize {
        let mut index = vec![0; self.stops.len()];
        for layer in &self.layers {
            for (place, stop) in layer.iter().enumerate() {
                index[*stop] = place;
            }
        }
        let mut between: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.layers.len()];
        for hop in &self.hops {
            between[self.layer[hop.from]].push((index[hop.from], index[hop.to]));
        }
        let mut crossings = 0;
        for hops in &mut between {
            hops.sort_unstable();
            // How many of those that begin higher end lower: counted in a tree of sums, so that wide layers stay cheap.
            let width = hops.iter().map(|hop| hop.1).max().map_or(0, |most| most + 1);
            let mut sums = vec![0_usize; width + 1];
            for (seen, (_, to)) in hops.iter().enumerate() {
                let mut at_most = 0;
                let mut at = to + 1;
                while at > 0 {
                    at_most += sums[at];
                    at &= at - 1;
                }
                crossings += seen - at_most;
                let mut at = to + 1;
                while at <= width {
                    sums[at] += 1;
                    at += at & at.wrapping_neg();
                }
            }
        }
        crossings
    }
}

/// The layer of each box. A layer with many boxes becomes several.
fn levels(items: &[Item]) -> Vec<usize> {
    let mut by_layer: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        by_layer.entry(item.layer).or_default().push(index);
    }
    let mut levels = vec![0; items.len()];
    let mut next = 0;
    for members in by_layer.values() {
        let parts = members.len().div_ceil(TALLEST);
        let size = members.len().div_ceil(parts);
        for part in members.chunks(size) {
            for index in part {
                levels[*index] = next;
            }
            next += 1;
        }
    }
    levels
}

fn average(joined: &[usize], position: &[f64]) -> Option<f64> {
    if joined.is_empty() {
        return None;
    }
    Some(joined.iter().map(|stop| position[*stop]).sum::<f64>() / as_float(joined.len()))
}

/// Where ways leave a box: one place for each label, below each other.
struct Ports {
    /// By box, the labels in the order in which their ways leave it.
    labels: Vec<Vec<String>>,
}

impl Ports {
    fn new(items: &[Item], links: &[Link]) -> Self {
        let mut labels: Vec<Vec<String>> = vec![Vec::new(); items.len()];
        for link in links {
            if !labels[link.from].contains(&link.label) {
                labels[link.from].push(link.label.clone());
            }
        }
        Self { labels }
    }

    /// How tall a box must be for its ports.
    fn height(&self, index: usize) -> f64 {
        as_float(self.labels[index].len()) * PORT
    }

    /// How far below the middle of its box a way leaves.
    fn offset(&self, link: &Link) -> f64 {
        let labels = &self.labels[link.from];
        let index = labels.iter().position(|label| *label == link.label).unwrap_or(0);
        (as_float(index) - (as_float(labels.len()) - 1.0) / 2.0) * PORT
    }
}

/// A column: how wide its boxes are, and the gap behind it.
#[derive(Debug, Clone, Copy)]
struct Column {
    width: f64,
    gap: f64,
}

fn columns(grid: &Grid, items: &[Item], links: &[Link]) -> Vec<Column> {
    let mut columns: Vec<Column> = grid
        .layers
        .iter()
        .map(|stops| {
            let widths = stops.iter().filter_map(|stop| match grid.stops[*stop] {
                Stop::Box(index) => Some(items[index].width),
                Stop::Lane(_) => None,
            });
            Column { width: widths.fold(0.0, f64::max), gap: GAP }
        })
        .collect();
    for link in links.iter().filter(|link| link.label_width > 0.0) {
        let column = &mut columns[grid.layer[link.from]];
        column.gap = column.gap.max(link.label_width + BEND);
    }
    columns
}

/// Which layers stand in which row: as few rows as the width allows, about equally many in each.
fn rows(columns: &[Column], widest: f64) -> Vec<std::ops::Range<usize>> {
    let filled = |most: usize| {
        let mut rows = Vec::new();
        let (mut start, mut width) = (0, 0.0);
        for (index, column) in columns.iter().enumerate() {
            let wider = width + column.width;
            if index > start && (wider > widest || index - start == most) {
                rows.push(start..index);
                (start, width) = (index, 0.0);
            }
            width += column.width + column.gap;
        }
        rows.push(start..columns.len());
        rows
    };
    let fewest = filled(usize::MAX).len();
    let even = columns.len().div_ceil(fewest);
    (even..=columns.len()).map(filled).find(|rows| rows.len() <= fewest).unwrap_or_else(|| filled(usize::MAX))
}

fn place(
    grid: &Grid,
    items: &[Item],
    links: &[Link],
    ports: &Ports,
    columns: &[Column],
    rows: &[std::ops::Range<usize>],
) -> Layout {
    let height_of = |stop: usize| match grid.stops[stop] {
        Stop::Box(index) => items[index].height.max(ports.height(index)),
        Stop::Lane(_) => 0.0,
    };
    let row_of = |level: usize| rows.iter().position(|row| row.contains(&level)).unwrap_or(0);
    let mut turns = turns(grid, rows.len(), &row_of);
    let most_turns = turns.iter().map(Vec::len).max().unwrap_or(0);
    let side = if most_turns == 0 { 0.0 } else { as_float(most_turns) * TRACK + 14.0 };
    let left = MARGIN + side;
    let mut middle = vec![0.0; grid.stops.len()];
    let mut column_left = vec![0.0; columns.len()];
    let (mut top, mut right) = (MARGIN, 0.0_f64);
    let mut row_bottom = Vec::with_capacity(rows.len());
    for (row, levels) in rows.iter().enumerate() {
        let mut x = left;
        for level in levels.clone() {
            column_left[level] = x;
            x += columns[level].width + columns[level].gap;
        }
        // Behind the last column stand only the labels of ways that go on in the next row.
        let last = levels.end - 1;
        let labels = links.iter().filter(|link| grid.layer[link.from] == last && link.label_width > 0.0);
        let behind = labels.map(|link| link.label_width + 14.0).fold(0.0, f64::max);
        right = right.max(x - columns[last].gap + behind);
        let inside: Vec<Hop> = grid
            .hops
            .iter()
            .filter(|hop| levels.contains(&grid.layer[hop.from]) && levels.contains(&grid.layer[hop.to]))
            .copied()
            .collect();
        align(grid, levels.clone(), &inside, &height_of, &mut middle);
        let stops = || levels.clone().flat_map(|level| grid.layers[level].iter().copied());
        let highest = stops().map(|stop| middle[stop] - height_of(stop) / 2.0).fold(f64::MAX, f64::min);
        let mut bottom = top;
        for stop in stops() {
            middle[stop] += top - highest;
            bottom = f64::max(bottom, middle[stop] + height_of(stop) / 2.0);
        }
        row_bottom.push(bottom);
        // Those from below take the inner tracks.
        let lowest = |hops: &[Hop]| hops.iter().map(|hop| middle[hop.from]).fold(f64::MIN, f64::max);
        turns[row].sort_by(|one, other| lowest(other).total_cmp(&lowest(one)).then(one.cmp(other)));
        top = bottom + if turns[row].is_empty() { 40.0 } else { 40.0 + as_float(turns[row].len()) * TRACK };
    }
    let boxes: Vec<Rect> = (0..items.len())
        .map(|index| {
            let height = height_of(index);
            Rect {
                x: column_left[grid.layer[index]],
                y: middle[index] - height / 2.0,
                width: items[index].width,
                height,
            }
        })
        .collect();
    let tracks = Tracks { right: right + 8.0, left: left - 14.0, turns: &turns, row_bottom: &row_bottom };
    let routes = links
        .iter()
        .zip(&grid.paths)
        .map(|(link, path)| {
            let from = &boxes[link.from];
            let start = Point { x: from.right(), y: from.middle() + ports.offset(link) };
            let mut pieces = Vec::new();
            let mut at = start;
            let mut label = None;
            for (index, pair) in path.windows(2).enumerate() {
                let (level, next) = (grid.layer[pair[0]], grid.layer[pair[1]]);
                let edge = column_left[level] + columns[level].width;
                let behind_label = if index == 0 && link.label_width > 0.0 { link.label_width + 10.0 } else { 0.0 };
                if behind_label > 0.0 {
                    label = Some(Point { x: edge + 5.0, y: at.y });
                }
                let bend = edge + behind_label;
                if bend > at.x {
                    at = Point { x: bend, y: at.y };
                    pieces.push(Piece::Line(at));
                }
                let y = middle[pair[1]];
                let to = Point { x: column_left[next], y };
                if row_of(level) == row_of(next) {
                    pieces.push(if to.y == at.y { Piece::Line(to) } else { Piece::Curve(to) });
                } else {
                    tracks.turn(row_of(level), Hop { from: pair[0], to: pair[1] }, at, to, &mut pieces);
                }
                at = to;
            }
            Route { start, pieces, label }
        })
        .collect();
    let height = row_bottom.last().copied().unwrap_or(0.0) + MARGIN;
    Layout { width: right + side + MARGIN, height, boxes, routes }
}

/// Ways from the end of each row to the beginning of the next. Those that come from one place or go to one share a track.
fn turns(grid: &Grid, rows: usize, row_of: &dyn Fn(usize) -> usize) -> Vec<Vec<Vec<Hop>>> {
    let mut turning: Vec<Vec<Hop>> = vec![Vec::new(); rows];
    for hop in &grid.hops {
        let row = row_of(grid.layer[hop.from]);
        if row_of(grid.layer[hop.to]) != row {
            turning[row].push(*hop);
        }
    }
    let shared = |hops: Vec<Hop>| {
        let (mut leaving, mut arriving) = (BTreeMap::<usize, usize>::new(), BTreeMap::<usize, usize>::new());
        for hop in &hops {
            *leaving.entry(hop.from).or_default() += 1;
            *arriving.entry(hop.to).or_default() += 1;
        }
        let mut tracks: BTreeMap<(bool, usize), Vec<Hop>> = BTreeMap::new();
        for hop in hops {
            let together = leaving[&hop.from] >= arriving[&hop.to];
            tracks.entry(if together { (true, hop.from) } else { (false, hop.to) }).or_default().push(hop);
        }
        tracks.into_values().collect()
    };
    turning.into_iter().map(shared).collect()
}

/// Where ways run around the ends of the rows.
struct Tracks<'t> {
    right: f64,
    left: f64,
    turns: &'t [Vec<Vec<Hop>>],
    row_bottom: &'t [f64],
}

impl Tracks<'_> {
    /// From the end of a row, below it, to the beginning of the next.
    fn turn(&self, row: usize, hop: Hop, from: Point, to: Point, pieces: &mut Vec<Piece>) {
        let all = &self.turns[row];
        let track = as_float(all.iter().position(|hops| hops.contains(&hop)).unwrap_or(0));
        let (right, below) = (self.right + track * TRACK, self.row_bottom[row] + 20.0 + track * TRACK);
        let left = self.left - (as_float(all.len()) - 1.0 - track) * TRACK;
        for (x, y) in [(right, from.y), (right, below), (left, below), (left, to.y), (to.x, to.y)] {
            pieces.push(Piece::Line(Point { x, y }));
        }
    }
}

/// Gives the stops of a row their heights: each as near as can be to those it is joined to, in their order and with room
/// between them.
fn align(
    grid: &Grid,
    levels: std::ops::Range<usize>,
    hops: &[Hop],
    height_of: &dyn Fn(usize) -> f64,
    middle: &mut [f64],
) {
    let (mut before, mut after) = (BTreeMap::<usize, Vec<usize>>::new(), BTreeMap::<usize, Vec<usize>>::new());
    for hop in hops {
        after.entry(hop.from).or_default().push(hop.to);
        before.entry(hop.to).or_default().push(hop.from);
    }
    let apart = |one: usize, other: usize| {
        let both_boxes = matches!((grid.stops[one], grid.stops[other]), (Stop::Box(_), Stop::Box(_)));
        (height_of(one) + height_of(other)) / 2.0 + if both_boxes { BETWEEN } else { LANE }
    };
    for level in levels.clone() {
        let mut y = 0.0;
        for (index, stop) in grid.layers[level].iter().enumerate() {
            if index > 0 {
                y += apart(grid.layers[level][index - 1], *stop);
            }
            middle[*stop] = y;
        }
        // About the same middle for all, to begin with.
        for stop in &grid.layers[level] {
            middle[*stop] -= y / 2.0;
        }
    }
    let at_first = middle.to_vec();
    for round in 0..2 * SWEEPS {
        let forwards = round % 2 == 0;
        let mut order: Vec<usize> = levels.clone().collect();
        if !forwards {
            order.reverse();
        }
        for level in order {
            let layer = &grid.layers[level];
            let wanted: Vec<(f64, f64)> = layer
                .iter()
                .map(|stop| {
                    let (first, second) = if forwards { (&before, &after) } else { (&after, &before) };
                    let (joined, back) = match first.get(stop) {
                        Some(joined) => (joined.as_slice(), second),
                        None => (second.get(stop).map(Vec::as_slice).unwrap_or_default(), first),
                    };
                    let (mut sum, mut weight) = (at_first[*stop] * HOME, HOME);
                    for other in joined {
                        // Whoever many are joined to pulls each of them the less, and a lane of one way should be
                        // straight more than a box should stand in the middle.
                        let shared = back.get(other).map_or(1, Vec::len) * joined.len();
                        let pull = match (grid.stops[*stop], shared) {
                            (Stop::Lane(_), 1) => 4.0,
                            (Stop::Lane(_), shared) => 0.3 / as_float(shared),
                            (Stop::Box(_), shared) => 1.0 / as_float(shared),
                        };
                        sum += middle[*other] * pull;
                        weight += pull;
                    }
                    (sum / weight, weight)
                })
                .collect();
            let gaps: Vec<f64> = layer.windows(2).map(|pair| apart(pair[0], pair[1])).collect();
            for (stop, y) in layer.iter().zip(spread(&wanted, &gaps)) {
                middle[*stop] = y;
            }
        }
    }
    for level in levels {
        for stop in &grid.layers[level] {
            middle[*stop] = (middle[*stop] * 2.0).round() / 2.0;
        }
        // Rounding may have taken half a point of the room between two.
        for pair in grid.layers[level].windows(2) {
            let least = middle[pair[0]] + apart(pair[0], pair[1]);
            middle[pair[1]] = middle[pair[1]].max(least);
        }
    }
}

/// The places nearest to those that are wanted (each with its weight), in order and at least `gaps` apart: neighbours that
/// would come too near form a group, and a group stands where its members want on the average.
fn spread(wanted: &[(f64, f64)], gaps: &[f64]) -> Vec<f64> {
    struct Group {
        sum: f64,
        weight: f64,
        count: usize,
    }
    let mut offsets = Vec::with_capacity(wanted.len());
    let mut offset = 0.0;
    for index in 0..wanted.len() {
        if index > 0 {
            offset += gaps[index - 1];
        }
        offsets.push(offset);
    }
    let mut groups: Vec<Group> = Vec::new();
    for ((y, weight), offset) in wanted.iter().zip(&offsets) {
        let mut group = Group { sum: (y - offset) * weight, weight: *weight, count: 1 };
        while let Some(last) = groups.last() {
            if last.sum / last.weight < group.sum / group.weight {
                break;
            }
            group = Group {
                sum: last.sum + group.sum,
                weight: last.weight + group.weight,
                count: last.count + group.count,
            };
            groups.pop();
        }
        groups.push(group);
    }
    let mut placed = Vec::with_capacity(wanted.len());
    for group in groups {
        for _ in 0..group.count {
            placed.push(group.sum / group.weight + offsets[placed.len()]);
        }
    }
    placed
}

fn as_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A graph: for each box its size and layer, and ways that lead to higher layers.
    fn graphs() -> impl Strategy<Value = (Vec<Item>, Vec<Link>)> {
        let item = (40.0..240.0f64, 20.0..160.0f64, 0..9usize).prop_map(|(width, height, layer)| Item {
            width: width.round(),
            height: height.round(),
            layer,
        });
        (prop::collection::vec(item, 1..40), prop::collection::vec((0..40usize, 0..40usize, 0..3u8), 0..90)).prop_map(
            |(items, pairs)| {
                let mut seen = std::collections::BTreeSet::new();
                let links = pairs
                    .into_iter()
                    .map(|(one, other, label)| (one % items.len(), other % items.len(), label))
                    .filter(|(one, other, _)| items[*one].layer < items[*other].layer && seen.insert((*one, *other)))
                    .map(|(from, to, label)| {
                        let label = ["", "failed", "finished or so"][usize::from(label)].to_owned();
                        let label_width = label.len() as f64 * 6.0;
                        Link { from, to, label, label_width }
                    })
                    .collect();
                (items, links)
            },
        )
    }

    fn apart(one: &Rect, other: &Rect) -> bool {
        one.right() <= other.x || other.right() <= one.x || one.bottom() <= other.y || other.bottom() <= one.y
    }

    /// Points on a piece, close to each other.
    fn along(start: Point, piece: Piece) -> Vec<Point> {
        let end = piece.end();
        (0..=24)
            .map(|step| {
                let t = f64::from(step) / 24.0;
                match piece {
                    Piece::Line(_) => Point { x: start.x + (end.x - start.x) * t, y: start.y + (end.y - start.y) * t },
                    Piece::Curve(_) => {
                        let half = (start.x + end.x) / 2.0;
                        let (a, b, c, d) =
                            ((1.0 - t).powi(3), 3.0 * t * (1.0 - t).powi(2), 3.0 * t * t * (1.0 - t), t.powi(3));
                        Point {
                            x: a * start.x + b * half + c * half + d * end.x,
                            y: (a + b) * start.y + (c + d) * end.y,
                        }
                    }
                }
            })
            .collect()
    }

    fn is_inside(point: Point, it: &Rect) -> bool {
        point.x > it.x + 0.01 && point.x < it.right() - 0.01 && point.y > it.y + 0.01 && point.y < it.bottom() - 0.01
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn boxes_stand_apart_and_no_way_runs_through_one((items, links) in graphs(), widest in 300.0..1600.0f64) {
            let made = layout(&items, &links, widest);
            prop_assert_eq!(&made, &layout(&items, &links, widest), "the same graph gives the same picture");
            prop_assert_eq!(made.boxes.len(), items.len());
            for (index, one) in made.boxes.iter().enumerate() {
                prop_assert!(one.x >= 0.0 && one.y >= 0.0 && one.right() <= made.width && one.bottom() <= made.height);
                prop_assert!(one.height >= items[index].height);
                for other in &made.boxes[index + 1..] {
                    prop_assert!(apart(one, other), "{:?} {:?}", one, other);
                }
            }
            for (link, route) in links.iter().zip(&made.routes) {
                let mut at = route.start;
                let from = &made.boxes[link.from];
                prop_assert!(at.x == from.right() && at.y > from.y && at.y < from.bottom());
                for piece in &route.pieces {
                    for point in along(at, *piece) {
                        prop_assert!(point.x >= 0.0 && point.y >= 0.0 && point.x <= made.width && point.y <= made.height, "{:?}", point);
                        for it in &made.boxes {
                            prop_assert!(!is_inside(point, it), "{:?} in {:?} on {:?}", point, it, route);
                        }
                    }
                    at = piece.end();
                }
                let to = &made.boxes[link.to];
                prop_assert_eq!(at, Point { x: to.x, y: to.middle() });
                prop_assert_eq!(route.label.is_some(), link.label_width > 0.0);
                if let Some(label) = route.label {
                    let text = Rect { x: label.x, y: label.y - 6.0, width: link.label_width, height: 12.0 };
                    for it in &made.boxes {
                        prop_assert!(apart(&text, it), "{:?} {:?}", text, it);
                    }
                }
            }
        }

        #[test]
        fn what_is_spread_keeps_its_order_and_its_room(
            wanted in prop::collection::vec((-500.0..500.0f64, 0.05..4.0f64), 1..30),
        ) {
            let gaps: Vec<f64> = (1..wanted.len()).map(|index| 10.0 + as_float(index % 4)).collect();
            let placed = spread(&wanted, &gaps);
            prop_assert_eq!(placed.len(), wanted.len());
            for (pair, gap) in placed.windows(2).zip(&gaps) {
                prop_assert!(pair[1] - pair[0] >= gap - 1e-6);
            }
        }
    }

    #[test]
    fn a_long_chain_goes_on_in_the_next_row() {
        let items: Vec<Item> = (0..12).map(|layer| Item { width: 200.0, height: 60.0, layer }).collect();
        let links: Vec<Link> =
            (1..12).map(|to| Link { from: to - 1, to, label: String::new(), label_width: 0.0 }).collect();
        let made = layout(&items, &links, 1200.0);
        let rows: std::collections::BTreeSet<i64> = made.boxes.iter().map(|it| it.y as i64).collect();
        assert_eq!(rows.len(), 3, "{:?}", made.boxes);
        assert!(made.width < 1300.0);
    }
}
