#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`zdt-units install` with check mode and diff."""

from __future__ import annotations

DOCUMENTATION = """
---
module: zdt_install
short_description: Installs the systemd units of a zdt.toml
version_added: "1.0.0"
description:
  - Runs C(zdt-units install), and only where something differs.
  - What it says is what C(zdt-units) says; a refusal is a failure with its words, and nothing was touched.
options:
  program:
    description: The zdt-units program, on the host.
    type: path
    default: /usr/local/bin/zdt-units
  config:
    description: The zdt.toml, on the host.
    type: path
    default: /etc/zdt/zdt.toml
  allow_gap:
    description: Permits what closes an open socket, or refuses clients for a while.
    type: bool
    default: false
  take_over:
    description: A unit of others whose place is taken, such as V(shop.service).
    type: str
    default: ""
  target_systemd:
    description: The release of systemd the units are for; by default the oldest one that C(zdt-units) writes for.
    type: str
    default: ""
  restart:
    description: Restarts services whose process has not seen the change.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author: the zdt authors
"""

EXAMPLES = """
- name: Put the units in place
  zdt_install:
    config: /etc/zdt/zdt.toml
"""

RETURN = """
costs:
  description: What each change costs.
  returned: success
  type: list
  elements: str
gaps:
  description: Where clients will be refused for a while, and why.
  returned: success
  type: list
  elements: str
measured:
  description: How long nobody listened, as measured from outside.
  returned: success
  type: list
  elements: str
restarts:
  description: Services that run on as they were started until they are restarted.
  returned: success
  type: list
  elements: str
told:
  description: What was done, line by line.
  returned: success
  type: list
  elements: str
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

DIRECTORY = "/etc/systemd/system"
REFUSED = 4
OUTCOMES = {
    1: "something unexpected happened",
    2: "zdt-units does not take these arguments",
    3: "zdt.toml is missing or invalid; nothing was touched",
    REFUSED: "refused; nothing was touched",
    5: "it failed before anything was changed",
    6: "the old service runs again, because the new one did not serve",
    7: "LOOK NOW: it failed half-way",
    9: "it is installed, but the old process was killed with requests in it",
}
NAMES = (
    "in the role `--allow-gap` is `zdt_allow_gap: true`, "
    "and `--take-over UNIT` is `zdt_take_over: UNIT` beside it"
)


class Install:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        target = self.params["target_systemd"]
        self.target = ["--target-systemd", target] if target else []

    def call(self, command: str, *arguments: str) -> tuple[int, str, str]:
        argv = [self.params["program"], command, "--config", self.params["config"], *self.target]
        return self.module.run_command([*argv, *arguments])

    def fail(self, code: int, words: str) -> None:
        what = OUTCOMES.get(code, f"exit status {code}")
        self.module.fail_json(msg=f"{what}\n{words}".rstrip(), rc=code)

    def wishes(self) -> list[str]:
        wishes = ["--allow-gap"] if self.params["allow_gap"] else []
        if self.params["take_over"]:
            wishes += ["--take-over", self.params["take_over"]]
        return wishes

    def plan(self) -> dict:
        """What would be done, or the end with the reasons why not."""
        code, out, err = self.call("install", "--dry-run", "--json", *self.wishes())
        if code not in (0, REFUSED) or not out:
            self.fail(code, err)
        plan = json.loads(out.splitlines()[-1])
        if plan["refused"]:
            reasons = [f"{reason['message']}\n  {reason['hint']}" for reason in plan["refused"]]
            self.fail(REFUSED, "\n".join([*reasons, NAMES]))
        if plan["gaps"] and not self.params["allow_gap"]:
            self.fail(REFUSED, "\n".join([*plan["gaps"], NAMES]))
        return plan

    def diff(self, plan: dict) -> list[dict]:
        """The unit files, before and after."""
        after = self.module.tmpdir
        code, _out, err = self.call("generate", "--out", after)
        if code != 0:
            self.fail(code, err)
        changed = [unit["unit"] for unit in plan["units"] if unit["change"] != "unchanged"]
        return [
            {
                "before_header": f"{DIRECTORY}/{unit}",
                "after_header": f"{DIRECTORY}/{unit}",
                "before": text(f"{DIRECTORY}/{unit}"),
                "after": text(f"{after}/{unit}"),
            }
            for unit in changed
        ]

    def run(self) -> None:
        plan = self.plan()
        due = bool(plan["restarts"]) and self.params["restart"]
        result = {
            "changed": bool(plan["steps"]) or due,
            "costs": costs(plan),
            "gaps": plan["gaps"],
            "notes": plan["notes"],
            "restarts": plan["restarts"],
            "steps": plan["steps"],
            "told": [],
            "measured": [],
        }
        for gap in plan["gaps"]:
            self.module.warn(gap)
        if self.module._diff:
            result["diff"] = self.diff(plan)
        if result["changed"] and not self.module.check_mode:
            restart = ["--restart"] if self.params["restart"] else []
            code, _out, err = self.call("install", *self.wishes(), *restart)
            if code == 9:
                self.module.warn(OUTCOMES[code])
            elif code != 0:
                self.fail(code, err)
            result["told"] = err.splitlines()
            result["measured"] = [line.strip() for line in result["told"] if "measured: " in line]
        self.module.exit_json(**result)


def costs(plan: dict) -> list[str]:
    lines = []
    for unit in plan["units"]:
        if unit["change"] == "unchanged":
            continue
        lines.append(f"{unit['change']} `{unit['unit']}`: {unit['cost']}")
        for change in unit["directives"]:
            old, new = (" ".join(change[key]) or "nothing" for key in ("old", "new"))
            lines.append(f"    {change['key']}: {old} -> {new}: {change['cost']}")
    lines += [f"`{name}` is restarted, because its process has not seen the change" for name in plan["restarts"]]
    return lines + [f"clients are refused for a while: {gap}" for gap in plan["gaps"]]


def text(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "default": "/usr/local/bin/zdt-units"},
            "config": {"type": "path", "default": "/etc/zdt/zdt.toml"},
            "allow_gap": {"type": "bool", "default": False},
            "take_over": {"type": "str", "default": ""},
            "target_systemd": {"type": "str", "default": ""},
            "restart": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    Install(module).run()


if __name__ == "__main__":
    main()
