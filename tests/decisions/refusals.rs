//! Events that do not fit are refused with a sentence and change nothing.
