"""Personal data found in text by rules and checksums, and replaced.

Precision goes before recall where a number could be anything: a corpus in which every order number is a [PHONE] is
spoilt. What is found: e-mail addresses, also with (at) and (dot); telephone numbers with a country code, and others
that have a word such as "Tel." before them or the grouping of their country; public addresses of the internet protocol;
payment cards; bank accounts; national ids whose form or checksum says more than chance. What is not: postal addresses,
dates of birth, and names unless a model is asked for them.
"""

from tasks.text.privacy.redact import redact

__all__ = ["redact"]
