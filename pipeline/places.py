"""Places and texts as they are compared: which city a place names, and texts without what does not matter."""

from typing import Final

import polars as pl

_PEOPLES: Final = (
    "(?:蒙古族?|哈萨克族?|柯尔克孜族?|维吾尔族?|(?:回|藏|苗|彝|壮|布依|朝鲜|侗|瑶|白|土家|哈尼|傣|黎|傈僳|佤|拉祜"
    "|东乡|纳西|景颇|土|羌|仡佬|塔吉克)族)"
)
_CITY_ENDING: Final = f"^(.+?)(?:{_PEOPLES}+自治州|市|地区|盟|特别行政区)$"
_PROVINCE_ENDING: Final = "^(.+?)(?:(?:壮族|回族|维吾尔)?自治区|省|市|特别行政区)$"
_IS_ITS_OWN_CITY: Final = ("北京", "上海", "天津", "重庆", "香港", "澳门", "台湾")
"""Municipalities, Hong Kong, Macau and Taiwan are compared as a whole."""


def squash(text: pl.Expr) -> pl.Expr:
    """Return `text` without white space, punctuation, symbols and full-width forms; empty becomes null."""
    squashed = text.str.normalize("NFKC").str.replace_all(r"[\s\p{Z}\p{P}\p{S}\p{C}]", "")
    return pl.when(squashed != "").then(squashed)


def resolve(places: pl.DataFrame) -> pl.DataFrame:
    """Return `place` (as written), `province`, `city` and `county` (as compared) for rows of province, city and district.

    `city` is null where the place names none. A province's directly administered county counts as a city. `county` is the
    district where it is a city by name (义乌市 in 金华市): carriers often write it in the city's stead.
    """
    names = places.select(squash(pl.col(name)).str.to_lowercase() for name in ("province", "city", "district"))
    province = pl.col("province").str.replace(_PROVINCE_ENDING, "$1")
    city = pl.when(pl.col("city").str.contains("直辖")).then(pl.col("district")).otherwise(pl.col("city"))
    city = city.str.replace(_CITY_ENDING, "$1")
    written = places.select(place=pl.concat_str("province", "city", "district", separator=" ", ignore_nulls=True))
    return written.hstack(
        names.select(
            province=province,
            city=pl.when(province.is_in(_IS_ITS_OWN_CITY)).then(province).otherwise(city),
            county=pl.col("district").str.extract("^(.+)市$"),
        )
    )
