from pathlib import Path

import pytest

from schemas.carriers import TableError, convert, load_tables
from schemas.carriers._tables import Transfer, parse_table, shipped
from schemas.events import Scan


@pytest.mark.parametrize(
    ("codes", "carrier"),
    [
        (["yuantong", "YTO", "yto", "圆通", "圆通速递"], "yto"),
        (["zhongtong", "ZTO", "中通快递"], "zto"),
        (["yunda", "YD", "韵达快递"], "yunda"),
        (["shunfeng", "SF", "sf-express", "顺丰速运"], "sf"),
        (["huitongkuaidi", "HTKY", "BEST"], "best"),
        (["jtexpress", "JTSD"], "jtexpress"),
        (["youzhengguonei", "YZPY", "china-post", "3011"], "chinapost"),
        (["Some-Unknown"], "some-unknown"),
    ],
)
def test_a_carrier_has_one_spelling(codes: list[str], carrier: str) -> None:
    assert {shipped().carrier(code) for code in codes} == {carrier}


def test_no_alias_belongs_to_two_carriers() -> None:
    folder = Path(__file__).parents[3] / "schemas" / "carriers"
    carriers = parse_table((folder / "carriers.toml").read_text("utf-8"), "carriers.toml").carrier
    own = [{alias.lower() for alias in (code, *each.codes, *each.names)} for code, each in carriers.items()]
    aliases = [alias for each in own for alias in each]
    assert len(aliases) == len(set(aliases)), sorted({alias for alias in aliases if aliases.count(alias) > 1})


def test_no_pattern_stands_there_twice() -> None:
    folder = Path(__file__).parents[3] / "schemas" / "carriers"
    table = parse_table((folder / "phrases.toml").read_text("utf-8"), "phrases.toml")
    assert len({pattern.match for pattern in table.pattern}) == len(table.pattern)


@pytest.mark.parametrize(
    ("text", "transfer"),
    [
        ("已签收,签收人是: 转EMS1130000000017", Transfer("ems", "1130000000017")),
        ("快件转投中通快递，运单号：78000000000001", Transfer("zto", "78000000000001")),
        ("已转邮政包裹 9800000000017", Transfer("chinapost", "9800000000017")),
        ("快件已更换新单号：YT0000000000017", Transfer(None, "YT0000000000017")),
        ("转给圆通，请联系13800000000", None),
        ("转圆通13800000000", None),
        ("已到达【杭州转运中心】1234567890", None),
        ("签收人: 转EMS", None),
        ("已签收", None),
    ],
)
def test_a_transfer_is_told_with_its_number(text: str, transfer: Transfer | None) -> None:
    assert shipped().transfer(text) == transfer


def test_tables_of_ones_own_come_first(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        '[carrier.mine]\ncodes = ["yuantong"]\n[[pattern]]\nmatch = "装笼"\nstatus = "picked_up"\n'
        '[[pattern]]\nmatch = "已签收"\nunless = "本人"\nstatus = "exception"\n[[aside]]\nmatch = "已揽收的包裹"\n',
        "utf-8",
    )
    own = load_tables(tmp_path)
    assert own.carrier("yuantong") == "mine"
    assert own.meaning("快件已装笼") == "picked_up"
    assert own.meaning("已签收，门卫") == "exception"
    assert own.meaning("已签收，本人") == "delivered"
    assert own.meaning("已揽收的包裹") is None
    push = b'{"nu": "1", "com": "yuantong", "data": [{"time": "2026-03-01 18:30:00", "context": "\xe8\xa3\x85\xe7\xac\xbc"}]}'
    [scan] = convert(push, "kuaidi100", None, own).events
    assert isinstance(scan, Scan)
    assert (scan.carrier, scan.status) == ("mine", "picked_up")


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("[[pattern]]\nmatch = '('\nstatus = 'delivered'", "pattern.0.match: is no regular expression"),
        ("[[pattern]]\nmatch = 'x'\nstatus = 'lost'", "pattern.0.status: no such status; they are info_received"),
        ("[[pattern]]\nmatch = 'x'", "pattern.0.status: Field required"),
        (
            "[[pattern]]\nmatch = 'x'\nstatus = 'delivered'\nunles = 'y'",
            "pattern.0.unles: unknown key; allowed are match",
        ),
        ("[carrier.x]\ncode = ['y']", "carrier.x.code: unknown key; allowed are codes, names, prefixes"),
        ("[patterns]", "patterns: unknown key; allowed are carrier, aside, pattern"),
        ("x", "not TOML"),
    ],
)
def test_a_wrong_table_is_refused_with_its_key(tmp_path: Path, toml: str, complaint: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(toml, "utf-8")
    with pytest.raises(TableError) as caught:
        load_tables(tmp_path)
    assert str(caught.value).startswith(f"{path}: {complaint}")
    with pytest.raises(TableError, match="no such folder"):
        load_tables(tmp_path / "none")
