"""The PBX is left exactly as it was found: what verification may change is noted before and put back after.

Checks clean up behind them; this is for those that were killed. Only a person who works on the PBX at the same moment
could lose a change by it, so only the families below are touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from clinicpbx.verify.pbx import Pbx

KEPT = "/var/lib/clinicpbx/verification.json"
"""On the PBX while a run goes on that changed what people had set; left behind only by one that was killed."""
FAMILIES = ("clock", "dnd", "forward", "trunk", "recording", "toll", "CustomDevstate")
SPENT = ("money/", "seconds/", "day")
"""Below `toll`: what real calls cost meanwhile must not be forgotten."""


@dataclass(frozen=True)
class Snapshot:
    """`keys`: AstDB `family/key` to value. `members`: the queue's interface to (name, pause reason or None)."""

    keys: Mapping[str, str]
    members: Mapping[str, tuple[str, str | None]]


def recover(pbx: Pbx) -> list[str]:
    """After a run that was killed: the commands that gave people back what it had taken. Nothing newer is touched."""
    kept = pbx.run(f"cat {KEPT} 2>/dev/null", check=False)
    if not kept.strip():
        return []
    needed = commands(Snapshot(json.loads(kept)["keys"], {}), take(pbx), gentle=True)
    if needed:
        pbx.asterisk(*needed)
    forget(pbx)
    return needed


def take(pbx: Pbx) -> Snapshot:
    """How the PBX is."""
    return Snapshot(ours(pbx.database()), members(pbx.asterisk("queue show operators")))


def save(pbx: Pbx, before: Snapshot) -> None:
    text = json.dumps({"keys": dict(before.keys)}, ensure_ascii=False)
    pbx.run(f"umask 077; cat > {KEPT}.new && mv {KEPT}.new {KEPT}", data=text.encode())


def forget(pbx: Pbx) -> None:
    pbx.run(f"rm -f {KEPT}")


def stop_forwarding(pbx: Pbx, before: Snapshot) -> None:
    """Nobody is forwarded or undisturbed while the checks call them; `put_back` sets it again."""
    keys = [key for key in before.keys if key.partition("/")[0] in ("dnd", "forward")]
    if keys:
        pbx.asterisk(*(f"database del {key.replace('/', ' ', 1)}" for key in keys))


def ours(database: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in database.items() if key.partition("/")[0] in FAMILIES}


def members(answer: str) -> dict[str, tuple[str, str | None]]:
    """Logged-in members from `queue show`: `Name (PJSIP/2001) ... (dynamic) (paused:Обед was 3 secs ago) ...`."""
    found = {}
    for line in answer.splitlines():
        if match := re.match(r"\s+(.*?)\s*\(?(PJSIP/\d+)[ )]", line):
            pause = re.search(r"\(paused(?::(.*?))? was ", line)
            found[match[2]] = (match[1], (pause[1] or "") if pause else None)
    return found


def commands(before: Snapshot, now: Snapshot, *, gentle: bool = False) -> list[str]:
    """Asterisk CLI commands that lead from `now` back to `before`. Pure.

    `gentle`: what people may have set meanwhile stays; only what is missing comes back. Checks tidy up behind them.
    """
    out = []
    for key in sorted(before.keys.keys() | now.keys.keys()):
        old, new = before.keys.get(key), now.keys.get(key)
        family, _, name = key.partition("/")
        if old == new or (gentle and new is not None and family in ("dnd", "forward", "CustomDevstate")):
            continue
        if gentle and family == "toll" and name.startswith(SPENT):
            continue
        if family == "CustomDevstate":
            out.append(f"devstate change Custom:{name} {old or ('UNKNOWN' if name.startswith('DND') else 'NOT_INUSE')}")
            out += [f"database del {family} {name}"] if old is None else []
        elif old is None:
            out.append(f"database del {family} {name}")
        else:
            out.append(f'database put {family} {name} "{old}"')
    for member in sorted(before.members.keys() | now.members.keys()):
        was, present = before.members.get(member), now.members.get(member)
        if was is None and gentle:
            continue
        if was is None:
            out.append(f"queue remove member {member} from operators")
        elif present is None:
            name = was[0].replace('"', "")
            out.append(f'queue add member {member} to operators penalty 0 as "{name}" state_interface {member}')
        if was is not None and (present is None or was[1] != present[1]) and not (present is None and was[1] is None):
            verb = "unpause" if was[1] is None else "pause"
            out.append(f"queue {verb} member {member} queue operators" + (f' reason "{was[1]}"' if was[1] else ""))
    return out


def put_back(pbx: Pbx, before: Snapshot, *, gentle: bool = False) -> list[str]:
    """Undo what is left; the commands that were needed (empty when the checks cleaned up behind them)."""
    needed = commands(before, take(pbx), gentle=gentle)
    if needed:
        pbx.asterisk(*needed)
    if "inactive" in pbx.run("systemctl is-active postgresql", check=False):
        pbx.run("systemctl start postgresql", check=False)
        needed.append("systemctl start postgresql")
    return needed
