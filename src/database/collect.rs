//! Gathers rows until there are enough.

use serde_json::{Map, Value};

use super::{DatabaseError, Limits, Table};

/// A table that grows up to its limits.
#[derive(Debug)]
pub(super) struct Collector {
    table: Table,
    limits: Limits,
    bytes: usize,
}

impl Collector {
    /// An empty table. Two columns of one name would hide each other.
    pub(super) fn new(columns: Vec<String>, limits: Limits) -> Result<Self, DatabaseError> {
        if let Some(twice) = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name)) {
            return Err(DatabaseError::SameName(twice.1.clone()));
        }
        Ok(Self { table: Table { columns, ..Table::default() }, limits, bytes: 0 })
    }

    /// The columns' names.
    pub(super) fn columns(&self) -> &[String] {
        &self.table.columns
    }

    /// Takes a row, unless that would be more than allowed. Returns whether it was taken.
    pub(super) fn take(&mut self, values: Vec<Value>) -> bool {
        let size = values.iter().map(size_of).sum::<usize>()
            + self.table.columns.iter().map(|name| name.len() + 4).sum::<usize>();
        if self.table.truncated || self.table.rows.len() >= self.limits.rows || self.bytes + size > self.limits.bytes {
            self.table.truncated = true;
            return false;
        }
        self.bytes += size;
        self.table.rows.push(self.table.columns.iter().cloned().zip(values).collect::<Map<_, _>>());
        true
    }

    /// Is it known that there is more?
    pub(super) fn is_full(&self) -> bool {
        self.table.truncated
    }

    /// The table.
    pub(super) fn finish(self, affected: u64) -> Table {
        Table { affected, ..self.table }
    }
}

/// About how long a value is as JSON.
fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size_of(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + size_of(item) + 4).sum::<usize>() + 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_too_much_is_left_out_and_said_to_be() {
        let mut few = Collector::new(vec!["id".into()], Limits { rows: 2, bytes: 1000 }).unwrap();
        assert_eq!([json!(1), json!(2), json!(3)].map(|id| few.take(vec![id])), [true, true, false]);
        let table = few.finish(0);
        assert!(table.truncated && table.rows.len() == 2);

        let mut small = Collector::new(vec!["id".into()], Limits { rows: 9, bytes: 30 }).unwrap();
        assert!(small.take(vec![json!("0123456789")]));
        assert!(!small.take(vec![json!("0123456789")]));
        assert!(!small.take(vec![json!("")]), "no row comes after one that was left out");

        let twice = Collector::new(vec!["a".into(), "b".into(), "a".into()], Limits { rows: 1, bytes: 1 }).unwrap_err();
        assert_eq!(twice, DatabaseError::SameName("a".into()));
    }
}
