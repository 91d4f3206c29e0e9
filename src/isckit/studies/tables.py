"""Tables of the studies as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def markdown(table: pd.DataFrame, formats: Mapping[str, str], *, missing: str = "-") -> str:
    """Return a table without its index as Markdown, columns of numbers aligned to the right.

    Args:
        table: a column may hold numbers or text.
        formats: template of the cells of a column, such as "{:.4f}"; "{}" where none is named.
        missing: what stands for a missing value.
    """
    marks = ["---:" if pd.api.types.is_numeric_dtype(column) else "---" for _, column in table.items()]
    cells = [
        [missing if pd.isna(value) else formats.get(str(name), "{}").format(value) for value in column]
        for name, column in table.items()
    ]
    rows = [[str(name) for name in table.columns], marks, *zip(*cells, strict=True)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
