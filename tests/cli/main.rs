//! The binary as people use it: every test here runs it and looks at what it says, does and leaves behind.

mod check;
mod docs;
mod drills;
mod gates;
mod output;
mod people;
mod records;
mod runs;
mod support;
