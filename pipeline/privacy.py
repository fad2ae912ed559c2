"""Hides people in free text: telephone numbers, and the names of couriers, senders and recipients.

Carriers write both into their scans. What stays is who they are to the parcel (签收人：本人, 门卫, 前台) and where it is: a name
is only taken for one where the words around it say so, and, where they say little, if it begins with a family name. Numbers of
companies (400…, 95…) stay.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import polars as pl

HIDDEN: Final = "***"

# The most frequent family names of the mainland; without those that begin everyday words (单, 包, 代, 丰, 门).
_FAMILY: Final = (
    "(?:欧阳|上官|司马|诸葛|司徒|东方|夏侯|皇甫|尉迟|长孙|慕容|令狐|端木|"
    "[王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦"
    "付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤常温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧"
    "耿关兰焦俞左柳甘祝鲍宁尚符舒阮柯纪梅童凌毕裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳欧管柴蒙鲜喻漆屈阳饶])"
)
_NAME: Final = rf"{_FAMILY}\p{{Han}}{{1,2}}"
_COURIER: Final = (
    "(?:(?:快递|派件|派送|配送|投递|揽投|揽收|揽件|收件|业务|扫描|操作|送货|取件|送件|速递)员|(?:派件|派送|揽收|揽件|取件|联系|经手|寄件|发件|操作|投递)人"
    "|小哥|骑手|司机|联系方式)"
)
_CALLED: Final = r"\s*(?:姓名)?\s*(?:(?:是|为)\s*[:：]?|[:：])\s*[【\[(（]?\s*"
_PHONE: Final = r"(?:1[3-9][0-9]|\+?861)"


class _Rule(NamedTuple):
    """Where a name, or the middle of a number, stands: what comes before it, and what comes after it."""

    before: str
    name: str
    after: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression with these three as its groups."""
        return f"({self.before}){self.name}({self.after})"


_NUMBERS: Final = (
    # Mobile, with an area code, and without one behind a word for calling
    _Rule(r"(?:^|[^0-9])(?:86)?1[3-9][0-9]", r"[- ]?[0-9]{4}[- ]?", r"[0-9]{4}(?:[^0-9]|$)"),
    _Rule(r"(?:^|[^0-9A-Za-z*])0(?:10|2[0-9]|[3-9][0-9]{2})", r"[-— ]?[0-9]{3,4}-?", r"[0-9]{4}(?:[^0-9]|$)"),
    _Rule(r"(?:联系|电联|致电|电话|拨打)(?:电话)?\s*[:：]?\s*", r"[2-8][0-9]{2,3}-?[0-9]{2}", r"[0-9]{2}(?:[^0-9]|$)"),
)

_NAMES: Final = (
    # 派件人: 张三; 揽投员姓名：张三; 快递员【张三，电话…; without a sign between them only before a telephone number or a deed
    _Rule(rf"{_COURIER}(?:{_CALLED}|\s*[【\[(（]\s*)", r"\p{Han}{2,4}", r"\P{Han}|正在|已|电话|$"),
    _Rule(rf"{_COURIER}\s*", _NAME, r"\s*(?:正在|已|将|为您|电话|[（(\[【,，。;；:：]|1[3-9]|$)"),
    # 签收人是【张三】, 收件人 张三
    _Rule(rf"(?:签收人|收件人|收货人|提货人|代收人|代签人|签收)(?:{_CALLED}|\s+)", _NAME, r"\P{Han}|签收|先生|女士|$"),
    _Rule(r"(?:由|被)\s*", _NAME, r"\s*(?:签收|代签|代收)"),
    # 的张三138…; 指定：张三(138…; 交给张三，; 【张三/138…; -张三(138…
    _Rule(
        rf"的\s*|指定[:：]\s*|交给\s*|[【\[（(]\s*|[-—]\s*|】\s*|{_COURIER}\s*",
        r"[\p{Han}--[电话]]{2,4}",
        rf"\s*[【\[(（/]?\s*{_PHONE}",
    ),
    _Rule(r"的\s*", r"\p{Han}{2,4}", r"\s*[【\[(（/]\s*0[0-9]{2,3}"),
    _Rule("", _NAME, rf"\s*[【\[(（/]?\s*{_PHONE}"),
    _Rule(r"(?:交|分配|指派)给\s*", r"\p{Han}{2,4}", r"\s*(?:[，,。；;（(]|$)"),
    _Rule(r"由\s*[【\[]\s*", _NAME, r"\s*[】\]]\s*扫描"),
    _Rule(r"[【\[（(]\s*", _NAME, r"\s*(?:手机|电话)"),
    _Rule(r"代签(?:人|收)?\s*[:：]?\s*", _NAME, r"\P{Han}|$"),
    _Rule(rf"{_COURIER}\s+", r"[\p{Han} ]{2,16}?", r"\s*(?:已收件|已揽|已取件)"),
    _Rule(r"指定[:：]\s*", _NAME, r"\s"),
    # 的张三正在派件; ，【张三】正在派件; -张三-派件中; 张三 正在派件
    _Rule(r"的\s*", r"[\p{Han} --[快裹您]]{2,16}?", r"\s*正在(?:第\s*[0-9]+\s*次)?(?:派|投|配|为您)"),
    _Rule(r"的\s*", _NAME, r"\s*(?:已揽|已收件|已取件|派件)"),
    _Rule(r"(?:[，,]|的)\s*[【\[]", _NAME, r"[】\]]\s*(?:正在|已揽|派)"),
    _Rule(r"[-—\s]", _NAME, r"(?:-|\s*正在)\s*(?:第\s*[0-9]+\s*次)?(?:派|投|配|为您)"),
    # 张三先生; 王师傅
    _Rule("", rf"{_FAMILY}\p{{Han}}{{0,2}}", r"\s*(?:先生|女士|小姐|师傅|阿姨|大哥)"),
)


class _Change(NamedTuple):
    """What to look for, and what to put in its place.

    All that is alike in one expression: Polars remembers a few dozen compiled ones, and if there are more, it compiles those of the
    decoder, which are large, again in each batch.
    """

    pattern: str
    shown: str

    @classmethod
    def of(cls, rules: Sequence[_Rule], hidden: str) -> Self:
        """Hide the names of `rules`. Groups that take no part are empty."""
        before = "".join(f"${{{2 * number + 1}}}" for number in range(len(rules)))
        after = "".join(f"${{{2 * number + 2}}}" for number in range(len(rules)))
        return cls("|".join(rule.pattern for rule in rules), f"{before}{hidden}{after}")


_PEOPLE: Final = _Change.of(_NAMES, HIDDEN)
_TELEPHONES: Final = _Change.of(_NUMBERS, "****")


def discreet(texts: Sequence[pl.Series], *, prose: bool) -> list[pl.Series]:
    """The same texts with numbers hidden and, in prose, names too. Each distinct text is looked at once: most come in numbers."""
    given = [each for each in texts if each.null_count() < len(each)]
    if not given:
        return [*texts]
    distinct = pl.concat(given).unique()
    hidden = without_names(without_numbers(distinct)) if prose else without_numbers(distinct)
    changed = hidden != distinct
    old, new = distinct.filter(changed), hidden.filter(changed)
    return [_exchanged(each, old, new) for each in texts] if len(old) else [*texts]


def _exchanged(texts: pl.Series, old: pl.Series, new: pl.Series) -> pl.Series:
    found = texts.is_in(old.implode())
    if not found.any():
        return texts
    return texts.clone().scatter(found.arg_true(), texts.filter(found).replace_strict(old, new))


def without_numbers(texts: pl.Series) -> pl.Series:
    """The same texts with telephone numbers hidden but for their ends: 138****5678, 0571****5678."""
    return _replaced(texts, _TELEPHONES)


def without_names(texts: pl.Series) -> pl.Series:
    """The same texts with names hidden: ***."""
    return _replaced(texts, _PEOPLE)


def _replaced(texts: pl.Series, change: _Change) -> pl.Series:
    """Make a change, with as few calls as can be: each begins by learning anew how to find such a pattern, for milliseconds."""
    changed = texts.str.replace_all(change.pattern, change.shown)
    # Neighbours share what is between them, so one pass takes every other one.
    rows = pl.arg_where(changed != texts, eager=True)
    rows = rows.filter(changed[rows].str.contains(change.pattern))
    if len(rows):
        changed.scatter(rows, changed[rows].str.replace_all(change.pattern, change.shown))
    return changed
