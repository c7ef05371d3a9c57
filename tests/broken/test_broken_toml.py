"""What may be wrong with the file, its sections and their names.

Each is refused by `validate` and by `run` in the same words, and nothing is written.
"""

from __future__ import annotations

import pytest

from tests.broken.place import Place

HEAD = '[penstock]\nplugins = ["plain", "shell"]\n\n'

CASES: dict[str, tuple[str | bytes, str]] = {
    "a key without a value": (
        HEAD + '[test.a]\nuses "shell"\n',
        "penstock.toml:5:6: not valid TOML: expected '=' after a key in a key/value pair",
    ),
    "a header that is not closed": (
        HEAD + '[test.a\nuses = "shell"\n',
        "penstock.toml:4:8: not valid TOML: expected ']' at the end of a table declaration",
    ),
    "a string that is not closed": (
        HEAD + '[test.a]\nuses = "shell\nrun = "x"\n',
        "penstock.toml:5:14: not valid TOML: a string is not closed in its line. Only between "
        '""" and """ it may have several',
    ),
    "a list that is not closed": (
        HEAD + '[test.a]\nneeds = ["x"\n',
        "penstock.toml:5: not valid TOML: unclosed array",
    ),
    "a key twice": (
        HEAD + '[test.a]\nuses = "shell"\nuses = "shell"\nrun = "true"\n',
        "penstock.toml:6:15: not valid TOML: uses is set already. A key stands once in its "
        "section: remove one of them",
    ),
    "a section twice": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\n[test.a]\nrun = "x"\n',
        "penstock.toml:7:8: not valid TOML: [test.a] is there already. A section stands once: "
        "put their keys together, or rename one",
    ),
    "a nest of five thousand lists": (
        HEAD + "x = " + "[" * 5000 + "]" * 5000 + "\n",
        "penstock.toml: not valid TOML: it nests too deeply. A list or table in a table is as "
        "deep as a pipeline needs",
    ),
    "a number of five thousand digits": (
        HEAD + "x = " + "9" * 5000 + "\n",
        "penstock.toml:4: not valid TOML: a number with thousands of digits",
    ),
    "UTF-16": (
        HEAD.encode("utf-16"),
        "penstock.toml:1: the file is UTF-16, and TOML is UTF-8. Save it as UTF-8",
    ),
    "Latin-1": (
        HEAD.encode() + b"# Gr\xf6\xdfe\n",
        "penstock.toml:4: the file is not UTF-8 (byte 0xf6). Save it as UTF-8",
    ),
    "NUL characters": (
        HEAD.encode() + b"\0\0\n",
        "penstock.toml:4: the file holds a NUL character. Save it as text, in UTF-8",
    ),
    "a NUL character in a string": (
        HEAD.encode() + b'[test.a]\nuses = "she\0ll"\n',
        "penstock.toml:5: the file holds a NUL character. Save it as text, in UTF-8",
    ),
    "lines that end with CR": (
        HEAD.replace("\n", "\r"),
        "penstock.toml:1: its lines end with CR alone. Save it with line ends of Unix (LF)",
    ),
    "nothing": (
        "",
        "penstock.toml:1: the file says nothing. Remove it, and have one made: penstock init",
    ),
    "a comment": (
        "# nothing\n",
        "penstock.toml:1: the file says nothing. Remove it, and have one made: penstock init",
    ),
    "no plugin at all": (
        "[penstock]\n",
        'penstock.toml:1: [penstock] plugins: no plugin was chosen that gets the source: add "git"',
    ),
    "penstock is a number": (
        "penstock = 3\n",
        "penstock.toml:1: [penstock] must be a table",
    ),
    "any bytes": (
        bytes(range(256)),
        "penstock.toml:2: the file is not UTF-8 (byte 0x80). Save it as UTF-8",
    ),
    "a fault after a line of three million characters": (
        HEAD + "# " + "x" * 3_000_000 + "\n[",
        "penstock.toml:5: not valid TOML: invalid initial character for a key part",
    ),
    "plugins is a string": (
        '[penstock]\nplugins = "shell"\n',
        'penstock.toml:2: [penstock] plugins: must be a list, and not "shell"',
    ),
    "plugins that are not installed": (
        '[penstock]\nplugins = ["plain", "nomade", "shel"]\n',
        'penstock.toml:2: [penstock] plugins: the plugin "nomade" is not installed. Try: pip '
        "install penstock-nomade\n"
        'penstock.toml:2: [penstock] plugins: the plugin "shel" is not installed. Did you mean '
        '"shell"? Otherwise: pip install penstock-shel',
    ),
    "a plugin that is a number": (
        '[penstock]\nplugins = [3, "plain"]\n',
        "penstock.toml:2: [penstock] plugins.0: must be a string, and not 3",
    ),
    "plugins that are no names": (
        '[penstock]\nplugins = ["plain", "a b; rm -rf", "../x", ""]\n',
        'penstock.toml:2: [penstock] plugins: "a b; rm -rf" is no name of a plugin: one is made '
        "of letters, digits, - and _\n"
        'penstock.toml:2: [penstock] plugins: "../x" leads out of the project. An in-house plugin is '
        'a file of the project, named from its root, such as "./ci/ours.py"\n'
        'penstock.toml:2: [penstock] plugins: "" is no name of a plugin: one is made of letters, '
        "digits, - and _",
    ),
    "requires is no bound": (
        '[penstock]\nplugins=["plain"]\nrequires = "latest"\n',
        'penstock.toml:3: [penstock] requires: "latest" is not a version bound, such as ">=0.1"',
    ),
    "requires another version": (
        '[penstock]\nplugins=["plain"]\nrequires = ">=9"\n',
        "penstock.toml:3: [penstock] requires: this is Penstock 0.1.0, and the project asks for "
        '>=9. Try: pip install "penstock>=9"',
    ),
    "a key of penstock misspelt": (
        '[penstock]\nplugins=["plain"]\nreqires = ">=0.1"\n',
        'penstock.toml:3: [penstock] reqires: there is no such key. Did you mean "requires"? The '
        "keys are name, plugins, requires, retention",
    ),
    "an empty name of the pipeline": (
        '[penstock]\nplugins=["plain"]\nname = ""\n',
        "penstock.toml:3: [penstock] name: must be a name of one line, such as the project's",
    ),
    "a phase misspelt": (
        HEAD + '[tests.unit]\nuses = "shell"\nrun = "true"\n',
        'penstock.toml:4: [tests] this is no phase. Did you mean "test"? The phases are source, '
        "build, test, scan, sign, publish, approve, deploy, verify",
    ),
    "a phase that there is not": (
        HEAD + '[lint.unit]\nuses = "shell"\nrun = "true"\n',
        "penstock.toml:4: [lint] this is no phase. The phases are source, build, test, scan, "
        "sign, publish, approve, deploy, verify",
    ),
    "a key above its section": (
        'plugins = ["x"]\n' + HEAD,
        "penstock.toml:1: [plugins] is a key, and stands in the section [penstock]",
    ),
    "a step without a name": (
        HEAD + '[test]\nuses = "shell"\nrun = "true"\n',
        "penstock.toml:5: [test] uses: must stand in a section with a name: [test.NAME], then uses = …",
    ),
    "a step in two brackets": (
        HEAD + '[[test.a]]\nuses = "shell"\nrun = "true"\n',
        "penstock.toml:4: [test.a] two brackets make a list, and a step is a table: [test.a]",
    ),
    "a phase is a number": (
        "test = 3\n" + HEAD,
        "penstock.toml:1: [test] must be a section: [test.NAME]",
    ),
    "a name with a space": (
        HEAD + '[test."a b"]\nuses = "shell"\nrun = "true"\n',
        'penstock.toml:4: [test."a b"] a name is made of at most 63 letters, digits, - and _',
    ),
    "a name with a dot": (
        HEAD + '[test.a.b]\nuses = "shell"\nrun = "true"\n',
        "penstock.toml:4: [test.a.b] a step's name has no dot. Write it such as [test.a-b]",
    ),
    "an empty name": (
        HEAD + '[test.""]\nuses = "shell"\nrun = "true"\n',
        'penstock.toml:4: [test.""] a name is made of at most 63 letters, digits, - and _',
    ),
    "a name with a line break": (
        HEAD + '[test."a\\nb"]\nuses = "shell"\nrun = "true"\n',
        'penstock.toml:4: [test."a\\nb"] a name is made of at most 63 letters, digits, - and _',
    ),
    "a name of 64 letters": (
        HEAD
        + '[test.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nuses = "shell"\nrun = "true"\n',
        "penstock.toml:4: "
        "[test.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa] a name is made "
        "of at most 63 letters, digits, - and _",
    ),
    "a key misspelt": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\ntimeuot = "5m"\n',
        'penstock.toml:7: [test.a] timeuot: there is no such key. Did you mean "timeout"? The '
        "keys are cwd, reports, run, and those of every section",
    ),
    "a key that there is not": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nxyzzy = 3\n',
        "penstock.toml:7: [test.a] xyzzy: there is no such key. The keys are cwd, reports, run, "
        "and those of every section",
    ),
    "inside, without a plugin for it": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\ninside = "build.image"\n',
        "penstock.toml:7: [test.a] inside: no enabled plugin can start a program inside of something that was "
        "built (enabled: plain, shell). Add one to plugins in [penstock] that implements penstock_launcher, "
        "such as the one that builds build.image where it makes images",
    ),
    "no uses": (
        HEAD + '[test.a]\nrun = "true"\n',
        'penstock.toml:4: [test.a] uses: is missing. Plugins that can test: "plain", "shell"',
    ),
    "uses is a number": (
        HEAD + '[test.a]\nuses = 3\nrun = "true"\n',
        "penstock.toml:5: [test.a] uses: must be a string, and not 3",
    ),
    "uses is a list": (
        HEAD + '[test.a]\nuses = ["shell"]\nrun = "true"\n',
        "penstock.toml:5: [test.a] uses: must be a string",
    ),
    "uses is empty": (
        HEAD + '[test.a]\nuses = ""\nrun = "true"\n',
        'penstock.toml:5: [test.a] uses: "" is no name of a plugin: one is made of letters, '
        "digits, - and _. Then add it to plugins in [penstock]",
    ),
    "uses is misspelt": (
        HEAD + '[test.a]\nuses = "shel"\nrun = "true"\n',
        'penstock.toml:5: [test.a] uses: the plugin "shel" is not enabled. Did you mean "shell"?',
    ),
    "uses is not enabled": (
        HEAD + '[test.a]\nuses = "pytest"\n',
        'penstock.toml:5: [test.a] uses: the plugin "pytest" is installed but not enabled. Add '
        "it to plugins in [penstock]",
    ),
    "uses is not installed": (
        HEAD + '[test.a]\nuses = "nomad"\n',
        'penstock.toml:5: [test.a] uses: the plugin "nomad" is not installed. Try: pip install '
        "penstock-nomad. Then add it to plugins in [penstock]",
    ),
    "uses can't do that": (
        HEAD + '[sign.a]\nuses = "shell"\nrun = "true"\n',
        'penstock.toml:5: [sign.a] uses: the plugin "shell" can\'t sign; it can: build, test, '
        "scan, verify. Plugins that can sign: none of the enabled ones",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES.keys())
def test_a_file_that_can_not_be(place: Place, text: str | bytes, message: str) -> None:
    place.config.write_bytes(text if isinstance(text, bytes) else text.encode())

    done = place.run("validate")

    assert (done.code, done.out, done.err) == (2, "", f"penstock: {message}\n")
    assert [path.name for path in place.root.iterdir()] == ["penstock.toml"]
