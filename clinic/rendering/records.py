"""Columns of the CDR and CEL files, in the order the ledger reads them (services/ledger)."""

from __future__ import annotations


def _quoted(*expressions: str) -> str:
    return ",".join(f"${{CSV_QUOTE(${{{e}}})}}" for e in expressions)


CDR_COLUMNS = _quoted(
    "CDR(start,u)", "CDR(answer,u)", "CDR(end,u)",
    *(f"CDR({name})" for name in (
        "clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "duration", "billsec",
        "disposition", "amaflags", "accountcode", "uniqueid", "linkedid", "sequence", "userfield", "direction",
        "did", "trunk", "stage", "recording",
    )),
)  # fmt: skip

CEL_COLUMNS = _quoted(
    "eventtype", "eventtime", "CALLERID(name)", "CALLERID(num)", "CHANNEL(exten)", "CHANNEL(context)",
    "CHANNEL(channame)", "CHANNEL(appname)", "CHANNEL(appdata)", "CHANNEL(amaflags)", "CHANNEL(accountcode)",
    "CHANNEL(uniqueid)", "CHANNEL(linkedid)", "BRIDGEPEER", "CHANNEL(userfield)", "userdeftype", "eventextra",
)  # fmt: skip
