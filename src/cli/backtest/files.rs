//! Tables as CSV and Parquet.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::backtest::rank::Candidate;
use crate::store::{PeriodRow, RunRow};

/// A column of a table.
enum Column {
    Whole(Vec<i64>),
    Number(Vec<f64>),
    Text(Vec<String>),
}

/// Writes the results of each run in each period.
pub(super) fn summary(
    path: &Path,
    parquet: bool,
    every: &str,
    rows: &[PeriodRow],
    runs: &BTreeMap<i64, &Candidate>,
) -> Result<(), String> {
    let text = |of: fn(&Candidate) -> &str| {
        Column::Text(
            rows.iter()
                .map(|row| {
                    runs.get(&row.number)
                        .map_or_else(String::new, |c| of(c).to_owned())
                })
                .collect(),
        )
    };
    let columns = [
        (
            "start_ms",
            Column::Whole(rows.iter().map(|row| row.start_ms).collect()),
        ),
        ("every", Column::Text(vec![every.to_owned(); rows.len()])),
        (
            "number",
            Column::Whole(rows.iter().map(|row| row.number).collect()),
        ),
        ("strategy", text(|c| &c.strategy)),
        ("params", text(|c| &c.params)),
        ("inst", text(|c| &c.inst)),
        ("bar", text(|c| &c.bar)),
        (
            "return",
            Column::Number(rows.iter().map(|row| row.ret).collect()),
        ),
        (
            "total",
            Column::Number(rows.iter().map(|row| row.total).collect()),
        ),
        (
            "place",
            Column::Whole(rows.iter().map(|row| row.place).collect()),
        ),
    ];
    write(path, parquet, &columns)
}

/// Runs of a batch: what was run, and its figures as JSON.
pub(super) fn runs(path: &Path, parquet: bool, rows: &[RunRow]) -> Result<(), String> {
    let text =
        |of: fn(&RunRow) -> &str| Column::Text(rows.iter().map(|row| of(row).to_owned()).collect());
    let whole = |of: fn(&RunRow) -> i64| Column::Whole(rows.iter().map(of).collect());
    let returns = |row: &RunRow| {
        row.returns
            .iter()
            .map(|(day, r)| format!("{day}:{r}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let columns = [
        ("number", whole(|row| row.number)),
        ("strategy", text(|row| &row.strategy)),
        ("params", text(|row| &row.params)),
        ("inst", text(|row| &row.inst)),
        ("bar", text(|row| &row.bar)),
        ("from_ms", whole(|row| row.from_ms)),
        ("to_ms", whole(|row| row.to_ms)),
        ("figures", text(|row| &row.result)),
        ("returns", Column::Text(rows.iter().map(returns).collect())),
    ];
    write(path, parquet, &columns)
}

fn write(path: &Path, parquet: bool, columns: &[(&str, Column)]) -> Result<(), String> {
    let done = if parquet {
        write_parquet(path, columns)
    } else {
        write_csv(path, columns)
    };
    done.map_err(|error| format!("{}: {error}", path.display()))
}

type Any = Box<dyn std::error::Error>;

fn write_csv(path: &Path, columns: &[(&str, Column)]) -> Result<(), Any> {
    let mut out = csv::Writer::from_path(path)?;
    out.write_record(columns.iter().map(|(name, _)| *name))?;
    let rows = columns.first().map_or(0, |(_, column)| match column {
        Column::Whole(values) => values.len(),
        Column::Number(values) => values.len(),
        Column::Text(values) => values.len(),
    });
    for row in 0..rows {
        out.write_record(columns.iter().map(|(_, column)| match column {
            Column::Whole(values) => values[row].to_string(),
            Column::Number(values) => values[row].to_string(),
            Column::Text(values) => values[row].clone(),
        }))?;
    }
    out.flush()?;
    Ok(())
}

fn write_parquet(path: &Path, columns: &[(&str, Column)]) -> Result<(), Any> {
    let field = |(name, column): &(&str, Column)| match column {
        Column::Whole(_) => format!("required int64 {name};"),
        Column::Number(_) => format!("required double {name};"),
        Column::Text(_) => format!("required binary {name} (UTF8);"),
    };
    let fields: String = columns.iter().map(field).collect();
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {fields} }}"))?);
    let mut file = SerializedFileWriter::new(
        File::create(path)?,
        schema,
        Arc::new(WriterProperties::default()),
    )?;
    let mut group = file.next_row_group()?;
    for (_, column) in columns {
        let mut writer = group
            .next_column()?
            .ok_or("the schema has a column for each")?;
        match column {
            Column::Whole(values) => writer
                .typed::<Int64Type>()
                .write_batch(values, None, None)?,
            Column::Number(values) => writer
                .typed::<DoubleType>()
                .write_batch(values, None, None)?,
            Column::Text(values) => {
                let bytes: Vec<ByteArray> = values
                    .iter()
                    .map(|text| ByteArray::from(text.as_str()))
                    .collect();
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&bytes, None, None)?
            }
        };
        writer.close()?;
    }
    group.close()?;
    file.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    #[test]
    fn both_formats_hold_the_same_rows() {
        let dir = tempfile::tempdir().unwrap();
        let columns = [
            ("number", Column::Whole(vec![1, 2])),
            ("ret", Column::Number(vec![0.1, -2.5e-7])),
            ("text", Column::Text(vec!["a, b".into(), String::new()])),
        ];
        let (csv, parquet) = (dir.path().join("x.csv"), dir.path().join("x.parquet"));
        write(&csv, false, &columns).unwrap();
        write(&parquet, true, &columns).unwrap();
        assert_eq!(
            std::fs::read_to_string(csv).unwrap(),
            "number,ret,text\n1,0.1,\"a, b\"\n2,-0.00000025,\n"
        );
        let reader = SerializedFileReader::new(File::open(parquet).unwrap()).unwrap();
        let rows: Vec<String> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap().to_string())
            .collect();
        assert_eq!(
            rows,
            [
                "{number: 1, ret: 0.1, text: \"a, b\"}",
                "{number: 2, ret: -2.5E-7, text: \"\"}"
            ]
        );
    }
}
