//! The rules of the language on small runbooks.
