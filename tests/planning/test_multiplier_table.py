"""A person's own table of scaled networks: what is read of it, what it follows, what is refused."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.planning.multiplier_table import (
    MOST_ROWS,
    MULTIPLIERS,
    fitted,
    read_variants,
    resolution_multipliers,
)
from scaling_search.planning.published import published_family

always_the_same = settings(derandomize=True, deadline=None, max_examples=50)

HEADER = "name,depth,width,resolution"
multipliers = st.floats(*MULTIPLIERS)


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "mine.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_table_is_read_as_it_stands(tmp_path: Path) -> None:
    text = "\ufeffVariant, Width ,depth,resolution,phi,flops,remark\nS,1,1.0,224,0,3e8,the base\n\n"
    table = read_variants(written(tmp_path, text + '"L, large",1.1,1.2,260,1,,\n'))
    assert table.to_dict("records")[0] == {
        "variant": "S",
        "depth": 1.0,
        "width": 1.0,
        "resolution": 224.0,
        "phi": 0.0,
        "flops": 3e8,
    }
    assert table["variant"].tolist() == ["S", "L, large"]
    assert table["depth"].tolist() == [1.0, 1.2]
    assert table["width"].tolist() == [1.0, 1.1]
    assert math.isnan(table["flops"][1])
    assert "params" not in table


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "one column name or variant, got 'nothing'"),
        (HEADER, "1 to 1000 rows below its header, got 0"),
        ("name,depth,width\na,1,1", "resolution or resolution_multiplier"),
        ("name,depth,resolution\na,1,224", "one column width"),
        ("depth,width,resolution\n1,1,224", "one column name or variant"),
        ("name,variant,depth,width,resolution\na,b,1,1,224", "one column name or variant"),
        ("name,depth,depth,width,resolution\na,1,1,1,224", "one column depth"),
        (HEADER + ",resolution_multiplier\na,1,1,224,1", "resolution or resolution_multiplier"),
        (HEADER + "\na,1,1", "4 cells in each row, got 3 in row 2"),
        (HEADER + "\na,1,1,224,9", "4 cells in each row, got 5 in row 2"),
        (HEADER + "\na,deep,1,224", "column 'depth', got 'deep' for 'a'"),
        (HEADER + "\na,nan,1,224", "column 'depth', got 'nan'"),
        (HEADER + "\na,1,inf,224", "column 'width', got 'inf'"),
        (HEADER + "\na,1,0,224", "column 'width', got '0'"),
        (HEADER + "\na,-2,1,224", "column 'depth', got '-2'"),
        (HEADER + "\na,1e6,1,224", "from 0.01 to 100 in column 'depth', got '1e6'"),
        (HEADER + "\na,1,1,1e9", "from 1 to 100000 in column 'resolution', got '1e9'"),
        (HEADER + "\na,1,,224", "column 'width', got ''"),
        (HEADER + "\na,1,1_0,224", "column 'width', got '1_0'"),
        (HEADER + ",phi\na,1,1,224,1e3", "from -20 to 20 in column 'phi', got '1e3'"),
        (HEADER + ",phi\na,1,1,224,", "column 'phi', got ''"),
        (HEADER + ",flops\na,1,1,224,-3", "column 'flops', got '-3'"),
        (HEADER + "\na,1,1,224\na,2,1,224", "name each row differently, got 'a' twice"),
        (HEADER + "\n,1,1,224", "name each row in 1 to 40 printable characters, got ''"),
        (HEADER + "\na\x1b[31m,1,1,224", "printable characters"),
        (HEADER + f"\n{'a' * 41},1,1,224", "1 to 40 printable characters"),
        (HEADER + '\n"a,1,1,224', "comma-separated values"),
        (HEADER + "".join(f"\n{i},1,1,224" for i in range(MOST_ROWS + 1)), "got 1001"),
    ],
)
def test_what_is_no_such_table_gets_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"audit\.table must") as error:
        read_variants(written(tmp_path, text))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_a_file_that_cannot_be_read_gets_one_line(tmp_path: Path) -> None:
    for file, said in (
        (str(tmp_path / "absent.csv"), "No such file"),
        (str(tmp_path), "which is none"),
        ("/dev/zero", "which is none"),
        ("a\0b", "null byte"),
        ("x" * 5000, "too long"),
    ):
        with pytest.raises(RuntimeError, match=r"audit\.table must") as error:
            read_variants(file)
        assert said in str(error.value)
    latin = written(tmp_path, (HEADER + "\ngröße,1,1,224").encode("latin-1"))
    with pytest.raises(RuntimeError, match="must be UTF-8"):
        read_variants(latin)


@always_the_same
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_bytes_lie_there_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.csv"
        file.write_bytes(f"{HEADER}\na,1,1,".encode() + content)
        try:
            table = read_variants(str(file))
        except (ValueError, RuntimeError) as error:
            assert str(error).startswith("audit.table must")  # noqa: PT017  # or nothing is raised
        else:
            assert table["resolution"].between(1, 100_000).all()


def rows(*triples: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(triples, columns=["depth", "width", "resolution"])


def test_pixels_are_over_those_of_the_base_row() -> None:
    assert resolution_multipliers(rows((2, 1, 300), (1, 1, 200)), 224) == [1.5, 1.0]
    # Of several, the base network's own.
    assert resolution_multipliers(rows((1, 1, 112), (1, 1, 224)), 224) == [0.5, 1.0]
    assert resolution_multipliers(rows((1, 1, 100), (1, 1, 200)), 224) == [1.0, 2.0]
    # Without one, the base network's.
    assert resolution_multipliers(rows((2, 1, 112), (1, 2, 448)), 224) == [0.5, 2.0]
    given_ones = rows((2, 1, 112)).rename(columns={"resolution": "resolution_multiplier"})
    assert resolution_multipliers(given_ones, 224) == [112.0]


coefficient = st.floats(0.8, 1.5)


@always_the_same
@given(
    st.tuples(coefficient, coefficient, coefficient),
    st.lists(st.floats(-3, 6).filter(lambda phi: abs(phi) > 0.1), min_size=1, max_size=6),
)
def test_a_table_that_follows_a_rule_gives_the_rule_back(
    rule: tuple[float, float, float], phis: list[float]
) -> None:
    table = rows((1, 1, 224), *((rule[0] ** p, rule[1] ** p, 224 * rule[2] ** p) for p in phis))
    found = fitted(table.assign(phi=[0.0, *phis]), 224)
    assert found is not None
    assert (found.alpha, found.beta, found.gamma) == pytest.approx(rule)


def test_the_published_family_fits_a_rule_near_the_papers_own() -> None:
    family = published_family()
    found = fitted(family, 224)
    assert found is not None
    # Least squares by numpy.linalg.lstsq on the logarithms, one unknown each.
    for name, column in (("alpha", "depth"), ("beta", "width")):
        logs = np.log(family[column].to_numpy())
        slope = np.linalg.lstsq(family[["phi"]].to_numpy(), logs, rcond=None)[0][0]
        assert getattr(found, name) == pytest.approx(math.exp(slope))
    assert [round(x, 2) for x in (found.alpha, found.beta, found.gamma)] == [1.17, 1.10, 1.15]


def test_without_phi_or_with_the_base_alone_there_is_nothing_to_fit() -> None:
    assert fitted(rows((1, 1, 224), (2, 1, 224)), 224) is None
    assert fitted(rows((1, 1, 224)).assign(phi=[0.0]), 224) is None


def test_a_phi_that_cannot_be_one_is_refused() -> None:
    table = rows((1, 1, 224), (2, 1, 224)).assign(phi=[0.0, 1e-9])
    with pytest.raises(ValueError, match=r"phi in audit\.table must be the power"):
        fitted(table, 224)
