from pipeline_core.files.markdown_tables import markdown_table


def test_a_table_aligns_numbers_and_escapes_bars():
    lines = list(markdown_table(["set", "rows"], [["a|b", "3"]], right=[1]))
    assert lines == ["| set | rows |", "| --- | ---: |", "| a\\|b | 3 |"]
