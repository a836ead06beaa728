"""Words of a kind, for swaps: first names that are no English words, places, and terms that tell a gender."""

from __future__ import annotations


def _listed(words: str, between: str | None = None) -> tuple[str, ...]:
    return tuple(words.split(between))


MALE_NAMES = _listed(
    "James John Robert Michael David Richard Thomas Charles Daniel Matthew Anthony Steven Paul Andrew Joshua Kevin "
    "Brian George Edward Ronald Timothy Jason Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan Stephen Larry Justin "
    "Scott Brandon Benjamin Samuel Gregory Alexander Patrick Tyler Dennis Jerry Tom Jim Steve"
)
FEMALE_NAMES = _listed(
    "Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty Margaret Sandra Ashley "
    "Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Sharon Laura Cynthia Kathleen Amy "
    "Angela Shirley Anna Brenda Pamela Emma Nicole Helen Samantha Katherine Christine Julia Rachel Catherine"
)
CITIES = _listed(
    "London|Paris|Berlin|Madrid|Rome|Vienna|Moscow|Tokyo|Beijing|Shanghai|Mumbai|Delhi|Cairo|Lagos|Nairobi|Sydney|"
    "Melbourne|Toronto|Montreal|New York|Los Angeles|Chicago|Boston|Seattle|San Francisco|Mexico City|Buenos Aires|"
    "Lisbon|Dublin|Amsterdam|Stockholm|Istanbul",
    "|",
)
COUNTRIES = _listed(
    "France Germany Spain Italy Austria Russia Japan China India Egypt Nigeria Kenya Australia Canada Mexico "
    "Argentina Brazil Portugal Ireland Sweden Norway Denmark Finland Poland Greece Thailand Vietnam Iran Iraq Cuba"
)
SHIPPED = {"names": (MALE_NAMES, FEMALE_NAMES), "cities": (CITIES,), "countries": (COUNTRIES,)}
"""Name -> lists; a word is only swapped within its own, so that pronouns still fit."""

_MALE = _listed(
    "he him himself man men boy boys guy guys gentleman gentlemen father fathers dad dads son sons brother brothers "
    "husband husbands boyfriend boyfriends uncle uncles nephew nephews grandfather grandson king kings prince princes "
    "actor actors hero heroes waiter waiters businessman policeman male males mr mr sir 他 父亲 男人 男孩 儿子 丈夫"
)
_FEMALE = _listed(
    "she her herself woman women girl girls gal gals lady ladies mother mothers mom moms daughter daughters sister "
    "sisters wife wives girlfriend girlfriends aunt aunts niece nieces grandmother granddaughter queen queens princess "
    "princesses actress actresses heroine heroines waitress waitresses businesswoman policewoman female females mrs ms "
    "madam 她 母亲 女人 女孩 女儿 妻子"
)
GENDER = {"male": (*_MALE, *MALE_NAMES), "female": (*_FEMALE, *FEMALE_NAMES)}
"""Group -> terms, the i-th of one for the i-th of the other; his, her and hers are told apart where they stand."""
AXES = {"gender": GENDER}
