//! Pictures of a plan, for people: Mermaid and Graphviz text, and an SVG of our own.

mod dot;
mod layout;
mod letters;
mod mermaid;
mod svg;

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::{svg, svg_within};
