"""What may be wrong with a key: the core's, a plugin's, policies' and roles'.

Each is refused by `validate` and by `run` in the same words, and nothing is written.
"""

from __future__ import annotations

import pytest

from tests.broken.place import Place

HEAD = '[penstock]\nplugins = ["plain", "shell"]\n\n'

QUARANTINE = HEAD + '[test.a]\nuses = "plain"\n[[quarantine]]\n'
TEST = '[test.a]\nuses = "shell"\nrun = "true"\n'
DEPLOYED = '[build.box]\nuses = "plain"\n[deploy.prod]\nuses = "plain"\nplace = "x"\n'

CASES: dict[str, tuple[str, str]] = {
    "a quarantine for a step that there is not": (
        QUARANTINE + 'test = "t"\nwhy = "w"\nuntil = 2099-01-01\nstep = "test.b"\n',
        'penstock.toml:10: [[quarantine]] step: "test.b" is no test step. Did you mean "test.a"? '
        "The test steps are test.a",
    ),
    "a quarantine of every test": (
        QUARANTINE + 'test = "**"\nwhy = "w"\nuntil = 2099-01-01\n',
        'penstock.toml:7: [[quarantine]] test: "**" would name every test. Name those that are meant, such as '
        '"tests/test_api.py::test_refund", or with * for any text: "tests/test_api.py::*"',
    ),
    "a quarantine without an end": (
        QUARANTINE + 'test = "t"\nwhy = "w"\n',
        "penstock.toml:6: [[quarantine]] until: is missing. The last day (UTC) on which it does not count, "
        "such as 2027-01-31",
    ),
    "a quarantine until no day": (
        QUARANTINE + 'test = "t"\nwhy = "w"\nuntil = 1767225600\n',
        "penstock.toml:9: [[quarantine]] until: this is no day. One is written as 2027-01-31",
    ),
    "a quarantine that is one table": (
        HEAD + '[test.a]\nuses = "plain"\n[quarantine]\ntest = "t"\n',
        "penstock.toml:6: [quarantine] must be a list of tables. Each begins with [[quarantine]]",
    ),
    "quarantine misspelt": (
        HEAD + '[test.a]\nuses = "plain"\n[[quarantined]]\ntest = "t"\n',
        'penstock.toml:6: [quarantined] this is no phase. Did you mean "quarantine"? The phases are source, '
        "build, test, scan, sign, publish, approve, deploy, verify",
    ),
    "needs is a string": (
        HEAD + '[test.a]\nuses = "plain"\nneeds = "build.b"\n',
        'penstock.toml:6: [test.a] needs: must be a list, and not "build.b"',
    ),
    "needs a number": (
        HEAD + '[test.a]\nuses = "plain"\nneeds = [1]\n',
        "penstock.toml:6: [test.a] needs.0: must be a string, and not 1",
    ),
    "needs is misspelt": (
        HEAD + '[build.box]\nuses = "plain"\n[test.a]\nuses = "plain"\nneeds = ["build.bax"]\n',
        'penstock.toml:8: [test.a] needs: there is no step "build.bax". Did you mean "build.box"?',
    ),
    "needs what there is not": (
        HEAD + '[build.box]\nuses = "plain"\n[test.a]\nuses = "plain"\nneeds = ["zzz"]\n',
        'penstock.toml:8: [test.a] needs: there is no step "zzz". The steps are source, build.box, test.a',
    ),
    "needs without the phase": (
        HEAD + '[build.box]\nuses = "plain"\n[test.a]\nuses = "plain"\nneeds = ["box"]\n',
        'penstock.toml:8: [test.a] needs: there is no step "box". Did you mean "build.box"?',
    ),
    "needs itself": (
        HEAD + '[test.a]\nuses = "plain"\nneeds = ["test.a"]\n',
        "penstock.toml:6: [test.a] needs: the step names itself. Leave it out",
    ),
    "a cycle": (
        HEAD
        + '[test.a]\nuses = "plain"\nneeds = ["test.b"]\n[test.b]\nuses = "plain"\nneeds = ["test.c"]\n[test.c]\nuses = "plain"\nneeds = ["test.a"]\n',
        "penstock.toml:6: [test.a] needs: these steps wait for each other: test.a → test.b → "
        "test.c → test.a. Take one of the needs out",
    ),
    "a timeout below zero": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = -5\n',
        'penstock.toml:6: [test.a] timeout: -5 is not a duration. Durations are such as "30s", '
        '"5m" or "1h30m"',
    ),
    "a timeout of zero": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = 0\n',
        "penstock.toml:6: [test.a] timeout: must be more than 0, and not 0",
    ),
    "a timeout that is no number": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = nan\n',
        'penstock.toml:6: [test.a] timeout: nan is not a duration. Durations are such as "30s", '
        '"5m" or "1h30m"',
    ),
    "a timeout without end": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = inf\n',
        "penstock.toml:6: [test.a] timeout: inf is longer than ten years, the longest of durations",
    ),
    "a timeout is true": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = true\n',
        'penstock.toml:6: [test.a] timeout: true is not a duration. Durations are such as "30s", '
        '"5m" or "1h30m"',
    ),
    "a timeout in words": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = "soon"\n',
        'penstock.toml:6: [test.a] timeout: "soon" is not a duration. Durations are such as '
        '"30s", "5m" or "1h30m"',
    ),
    "a timeout is a list": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = [5]\n',
        'penstock.toml:6: [test.a] timeout: this is not a duration. Durations are such as "30s", '
        '"5m" or "1h30m"',
    ),
    "a timeout of centuries": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = "99999d"\n',
        'penstock.toml:6: [test.a] timeout: "99999d" is longer than ten years, the longest of durations',
    ),
    "retries below zero": (
        HEAD + '[test.a]\nuses = "plain"\nretries = -1\n',
        "penstock.toml:6: [test.a] retries: must be at least 0, and not -1",
    ),
    "too many retries": (
        HEAD + '[test.a]\nuses = "plain"\nretries = 1000\n',
        "penstock.toml:6: [test.a] retries: must be at most 100, and not 1000",
    ),
    "half a retry": (
        HEAD + '[test.a]\nuses = "plain"\nretries = 1.5\n',
        "penstock.toml:6: [test.a] retries: must be a whole number, and not 1.5",
    ),
    "retries is true": (
        HEAD + '[test.a]\nuses = "plain"\nretries = true\n',
        "penstock.toml:6: [test.a] retries: must be a whole number, and not true",
    ),
    "retries is a string": (
        HEAD + '[test.a]\nuses = "plain"\nretries = "3"\n',
        'penstock.toml:6: [test.a] retries: must be a whole number, and not "3"',
    ),
    "half a condition": (
        HEAD + "[test.a]\nuses = 'plain'\nwhen = 'ref == \"main\" and'\n",
        "penstock.toml:6: [test.a] when: a value is missing at the end",
    ),
    "a condition is empty": (
        HEAD + "[test.a]\nuses = 'plain'\nwhen = ''\n",
        "penstock.toml:6: [test.a] when: a value is missing at the end",
    ),
    "a condition is true": (
        HEAD + "[test.a]\nuses = 'plain'\nwhen = true\n",
        "penstock.toml:6: [test.a] when: must be a string, and not true",
    ),
    "a condition of Python": (
        HEAD + "[test.a]\nuses = 'plain'\nwhen = '__import__(\"os\")'\n",
        'penstock.toml:6: [test.a] when: there is no "__import__(…)" in a condition. What there is: env("NAME"), '
        'result("test.unit"), changed("src/**"), changed_only("docs/**"), matches(ref, "release/*")',
    ),
    "a condition asks for no such parameter": (
        HEAD + "[parameters]\ndeploy = 'no'\n[test.a]\nuses = 'plain'\nwhen = 'param.deplyo == \"yes\"'\n",
        'penstock.toml:8: [test.a] when: there is no parameter "deplyo". Did you mean "deploy"? There are '
        "param.deploy",
    ),
    "a condition asks for a parameter where there is none": (
        HEAD + "[test.a]\nuses = 'plain'\nwhen = 'param.deploy == \"yes\"'\n",
        'penstock.toml:6: [test.a] when: there is no parameter "deploy". Declare it in [parameters]',
    ),
    "a condition compares a truth with a string": (
        HEAD + "[parameters]\ndeploy = false\n[test.a]\nuses = 'plain'\nwhen = 'param.deploy == \"true\"'\n",
        'penstock.toml:8: [test.a] when: param.deploy is true or false, "true" is a string: they are never the same',
    ),
    "a condition asks for the result of no step": (
        HEAD
        + "[build.box]\nuses = 'plain'\n[test.a]\nuses = 'plain'\nwhen = 'result(\"build.bax\") == \"passed\"'\n",
        'penstock.toml:8: [test.a] when: there is no step "build.bax". Did you mean "build.box"?',
    ),
    "a condition asks for its own result": (
        HEAD + "[test.a]\nuses = 'plain'\nwhen = 'result(\"test.a\") == \"passed\"'\n",
        "penstock.toml:6: [test.a] when: test.a is the step itself, so there is no result of it by then. Add it to "
        "needs, or take it out",
    ),
    "a condition asks for what runs beside it": (
        HEAD
        + "[test.a]\nuses = 'plain'\n[test.b]\nuses = 'plain'\nwhen = '''\nresult(\"test.a\") == \"passed\"'''\n",
        "penstock.toml:8: [test.b] when: test.a is nothing that test.b waits for, so there is no result of it by then. "
        "Add it to needs, or take it out",
    ),
    "a condition asks for the result of many": (
        HEAD + "[build.box]\nuses = 'plain'\nmatrix = { 'env.A' = ['1', '2'] }\n"
        "[test.a]\nuses = 'plain'\nwhen = 'result(\"build.box\") == \"passed\"'\n",
        "penstock.toml:9: [test.a] when: build.box is 2 steps, one of each variant. Name one of them, such as "
        "build.box[env.A=1]",
    ),
    "a condition of variants asks for no axis": (
        HEAD + "[test.a]\nuses = 'plain'\nmatrix = { 'env.A' = ['1'] }\nwhen = 'matrix.env.B == \"1\"'\n",
        'penstock.toml:7: [test.a] when: there is no axis "env.B". Did you mean "env.A"? There are matrix.env.A',
    ),
    "a source with a condition": (
        HEAD + "[source.it]\nuses = 'plain'\nwhen = 'dirty'\n",
        "penstock.toml:6: [source.it] when: has no place in this phase: every run has a source",
    ),
    "retries of nothing known": (
        HEAD + "[test.a]\nuses = 'plain'\nretries = { tims = 3 }\n",
        'penstock.toml:6: [test.a] retries.tims: there is no such key. Did you mean "times"? The keys are backoff, '
        "factor, longest, on, times",
    ),
    "retries after a refusal": (
        HEAD + "[test.a]\nuses = 'plain'\nretries = { on = ['refused'] }\n",
        'penstock.toml:6: [test.a] retries.on.0: "refused" is none of the allowed values "failed", "timeout" or "error"',
    ),
    "retries after nothing": (
        HEAD + "[test.a]\nuses = 'plain'\nretries = { on = [] }\n",
        "penstock.toml:6: [test.a] retries.on: is an empty list: it would never be tried again",
    ),
    "retries that come sooner and sooner": (
        HEAD + "[test.a]\nuses = 'plain'\nretries = { factor = 0.5 }\n",
        "penstock.toml:6: [test.a] retries.factor: must be at least 1, and not 0.5",
    ),
    "too many retries in a table": (
        HEAD + "[test.a]\nuses = 'plain'\nretries = { times = 101 }\n",
        "penstock.toml:6: [test.a] retries.times: must be at most 100, and not 101",
    ),
    "labels are a string": (
        HEAD + "[test.a]\nuses = 'plain'\nlabels = 'gpu'\n",
        'penstock.toml:6: [test.a] labels: must be a list, such as ["os=linux", "gpu"], or a table, such as '
        '{ os = "linux" }',
    ),
    "a label with a space": (
        HEAD + "[test.a]\nuses = 'plain'\nlabels = ['a gpu']\n",
        'penstock.toml:6: [test.a] labels: "a gpu" is no label. One is a word such as "gpu", or such as "os=linux"',
    ),
    "a label is a number": (
        HEAD + "[test.a]\nuses = 'plain'\nlabels = { cores = 8 }\n",
        'penstock.toml:6: [test.a] labels: "cores" must be a string, such as { os = "linux" }',
    ),
    "defaults of no phase": (
        HEAD + "[defaults.tset]\ntimeout = 5\n",
        'penstock.toml:4: [defaults.tset] this is no phase. Did you mean "test"? The phases are source, build, '
        "test, scan, sign, publish, approve, deploy, verify",
    ),
    "defaults without a phase": (
        HEAD + "[defaults]\ntimeout = 5\n",
        "penstock.toml:5: [defaults] timeout: must stand in a section of a phase, such as [defaults.test]",
    ),
    "a matrix is not shared": (
        HEAD + "[defaults.test]\nmatrix = { 'env.A' = ['1'] }\n",
        "penstock.toml:5: [defaults.test] matrix: can't be shared: each section has a matrix of its own",
    ),
    "a shared key is wrong": (
        HEAD + "[defaults.test]\nuses = 'plain'\ntimeout = 'soon'\n[test.a]\n[test.b]\n",
        'penstock.toml:6: [defaults.test] timeout: "soon" is not a duration. Durations are such as "30s", "5m" or '
        '"1h30m"',
    ),
    "a shared plugin that is not there": (
        HEAD + "[defaults.test]\nuses = 'plane'\n[test.a]\n[test.b]\n",
        'penstock.toml:5: [defaults.test] uses: the plugin "plane" is not enabled. Did you mean "plain"?',
    ),
    "a shared condition is wrong": (
        HEAD + "[defaults.test]\nuses = 'plain'\nwhen = 'result(\"test.b\") == \"passed\"'\n[test.a]\n",
        'penstock.toml:6: [defaults.test] when: there is no step "test.b". Did you mean "test.a"?',
    ),
    "a shared need is wrong": (
        HEAD + "[defaults.test]\nuses = 'plain'\nneeds = ['build.a']\n[test.a]\n",
        'penstock.toml:6: [defaults.test] needs: there is no step "build.a". The steps are source, test.a',
    ),
    "a parameter without a default": (
        HEAD + "[parameters]\nsize = { choices = ['a'] }\n",
        "penstock.toml:5: [parameters.size] default: is missing. What it is where nobody says; its type is that of "
        "the parameter",
    ),
    "a parameter of no known type": (
        HEAD + "[parameters]\nsize = 1.5\n",
        "penstock.toml:5: [parameters] size: must be a string, a whole number, true or false, or a table with a "
        "default that is one",
    ),
    "a default of no known type": (
        HEAD + "[parameters]\nsize = { default = 1.5 }\n",
        "penstock.toml:5: [parameters.size] default: must be true or false or a whole number or a string, and not 1.5",
    ),
    "a default that may not be chosen": (
        HEAD + "[parameters]\nsize = { default = 'c', choices = ['a', 'b'] }\n",
        "penstock.toml:5: [parameters.size] choices: the default c is not among them",
    ),
    "choices of another type": (
        HEAD + "[parameters]\nsize = { default = 1, choices = [1, true] }\n",
        "penstock.toml:5: [parameters.size] choices: true is of another type than the default 1",
    ),
    "a parameter with a dash": (
        HEAD + "[parameters]\ndry-run = true\n",
        "penstock.toml:5: [parameters] dry-run: a parameter's name is made of letters, digits and _, and begins with "
        "no digit",
    ),
    "two parameters of one variable": (
        HEAD + "[parameters]\nsize = 1\nSIZE = 2\n",
        'penstock.toml:6: [parameters] SIZE: "size" is there already: steps find both under PENSTOCK_PARAM_SIZE',
    ),
    "parameters are a list": (
        "parameters = ['a']\n" + HEAD,
        "penstock.toml:1: [parameters] must be a section: [parameters]",
    ),
    "env is a string": (
        HEAD + '[test.a]\nuses = "plain"\nenv = "A=1"\n',
        'penstock.toml:6: [test.a] env: must be a table, and not "A=1"',
    ),
    "env holds a number": (
        HEAD + '[test.a]\nuses = "plain"\nenv = { A = 1 }\n',
        "penstock.toml:6: [test.a] env.A: must be a string, and not 1",
    ),
    "env with an equals sign": (
        HEAD + '[test.a]\nuses = "plain"\nenv = { "A=B" = "1" }\n',
        'penstock.toml:6: [test.a] env: "A=B" is no name of an environment variable. One is such as PORT',
    ),
    "env with a NUL character": (
        HEAD + '[test.a]\nuses = "plain"\nenv = { A = "a\\u0000b" }\n',
        "penstock.toml:6: [test.a] env: A holds a NUL character, which no environment variable can",
    ),
    "env without a name": (
        HEAD + '[test.a]\nuses = "plain"\nenv = { "" = "1" }\n',
        'penstock.toml:6: [test.a] env: "" is no name of an environment variable. One is such as PORT',
    ),
    "secrets is a string": (
        HEAD + '[test.a]\nuses = "plain"\nsecrets = "env:A"\n',
        'penstock.toml:6: [test.a] secrets: must be a table, such as { TOKEN = "env:TOKEN" }',
    ),
    "a secret itself": (
        HEAD + '[test.a]\nuses = "plain"\nsecrets = { TOKEN = "hunter2hunter2" }\n',
        "penstock.toml:6: [test.a] secrets: TOKEN must say where the secret is, such as "
        '"env:TOKEN" or "file:PATH". If the secret itself stands here, take it out, and make a '
        "new one: it may have been read",
    ),
    "a reference to no variable": (
        HEAD + '[test.a]\nuses = "plain"\nsecrets = { TOKEN = "env:" }\n',
        "penstock.toml:6: [test.a] secrets: TOKEN must say where the secret is, such as "
        '"env:TOKEN" or "file:PATH". If the secret itself stands here, take it out, and make a '
        "new one: it may have been read",
    ),
    "a reference that nobody knows": (
        HEAD + '[test.a]\nuses = "plain"\nsecrets = { TOKEN = "vault:a/b" }\n',
        'penstock.toml:6: [test.a] secrets.TOKEN: no enabled plugin knows "vault:". References '
        "are such as env:NAME or file:PATH",
    ),
    "a secret is a number": (
        HEAD + '[test.a]\nuses = "plain"\nsecrets = { TOKEN = 3 }\n',
        "penstock.toml:6: [test.a] secrets: TOKEN must say where the secret is, such as "
        '"env:TOKEN" or "file:PATH". If the secret itself stands here, take it out, and make a '
        "new one: it may have been read",
    ),
    "artifacts is a string": (
        HEAD + '[build.a]\nuses = "plain"\nartifacts = "dist/*"\n',
        'penstock.toml:6: [build.a] artifacts: must be a list, and not "dist/*"',
    ),
    "artifacts with an absolute path": (
        HEAD + '[build.a]\nuses = "plain"\nartifacts = ["/etc/*"]\n',
        'penstock.toml:6: [build.a] artifacts.0: "/etc/*" leads out of the workspace. A glob is '
        'such as "dist/*"',
    ),
    "artifacts that climb": (
        HEAD + '[build.a]\nuses = "plain"\nartifacts = ["../*"]\n',
        'penstock.toml:6: [build.a] artifacts.0: "../*" leads out of the workspace. A glob is '
        'such as "dist/*"',
    ),
    "artifacts with two stars in a word": (
        HEAD + '[build.a]\nuses = "plain"\nartifacts = ["dist/**.whl"]\n',
        'penstock.toml:6: [build.a] artifacts.0: in "dist/**.whl", "**" must stand alone between '
        'slashes, as in "dist/**/*.whl"',
    ),
    "artifacts with a NUL character": (
        HEAD + '[build.a]\nuses = "plain"\nartifacts = ["a\\u0000b"]\n',
        'penstock.toml:6: [build.a] artifacts.0: "a\\x00b" names no file. A glob is such as "dist/*"',
    ),
    "artifacts with an empty glob": (
        HEAD + '[build.a]\nuses = "plain"\nartifacts = [""]\n',
        'penstock.toml:6: [build.a] artifacts.0: "" names no file. A glob is such as "dist/*"',
    ),
    "artifacts is everything": (
        HEAD + '[build.a]\nuses = "plain"\nartifacts = ["."]\n',
        'penstock.toml:6: [build.a] artifacts.0: "." names no file. A glob is such as "dist/*"',
    ),
    "environment is a number": (
        HEAD + '[test.a]\nuses = "plain"\nenvironment = 3\n',
        "penstock.toml:6: [test.a] environment: must be a string, and not 3",
    ),
    "environment is a path": (
        HEAD + '[test.a]\nuses = "plain"\nenvironment = "a/b"\n',
        'penstock.toml:6: [test.a] environment: "a/b" is no name: a name is made of at most 63 '
        "letters, digits, - and _",
    ),
    "environment is misspelt": (
        HEAD
        + '[deploy.staging]\nuses="plain"\nplace="/x"\n[test.a]\nuses = "plain"\nenvironment = "stagging"\n',
        "penstock.toml:9: [test.a] environment: there is no deploy section for the environment "
        '"stagging". Did you mean "staging"?',
    ),
    "allow_failure in words": (
        HEAD + '[test.a]\nuses = "plain"\nallow_failure = "yes"\n',
        'penstock.toml:6: [test.a] allow_failure: must be true or false, and not "yes"',
    ),
    "allow_failure is a number": (
        HEAD + '[test.a]\nuses = "plain"\nallow_failure = 1\n',
        "penstock.toml:6: [test.a] allow_failure: must be true or false, and not 1",
    ),
    "a deployment that may fail": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nallow_failure = true\n',
        "penstock.toml:7: [deploy.a] allow_failure: what a step of the phase deploy stands for "
        "can't be done without. Leave it out",
    ),
    "rollout of a test": (
        HEAD + '[test.a]\nuses = "plain"\nrollout = { strategy = "rolling" }\n',
        "penstock.toml:6: [test.a] rollout: belongs in a deploy section",
    ),
    "rollout is a string": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nrollout = "rolling"\n',
        'penstock.toml:7: [deploy.a] rollout: must be a table, and not "rolling"',
    ),
    "a strategy misspelt": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nrollout = { strategy = "roling" }\n',
        'penstock.toml:7: [deploy.a] rollout.strategy: "roling" is none of the allowed values '
        '"all-at-once", "rolling", "canary" or "blue-green"',
    ),
    "a key of rollout misspelt": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nrollout = { stratgy = "rolling" }\n',
        "penstock.toml:7: [deploy.a] rollout.stratgy: there is no such key. Did you mean "
        '"strategy"? The keys are batch, healthy_within, interval, judge, pause, strategy, waves',
    ),
    "a batch of none": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nrollout = { batch = 0 }\n',
        "penstock.toml:7: [deploy.a] rollout.batch: 0 is no batch. One is a number of targets, "
        'or a share such as "25%"',
    ),
    "a batch of more than all": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nrollout = { batch = "140%" }\n',
        'penstock.toml:7: [deploy.a] rollout.batch: "140%" is no batch. One is a number of '
        'targets, or a share such as "25%"',
    ),
    "a batch in words": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nrollout = { batch = "two" }\n',
        'penstock.toml:7: [deploy.a] rollout.batch: "two" is no batch. One is a number of '
        'targets, or a share such as "25%"',
    ),
    "a pause below zero": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace="/x"\nrollout.pause = -1\n',
        "penstock.toml:7: [deploy.a] rollout.pause: -1 is not a duration. Durations are such as "
        '"30s", "5m" or "1h30m"',
    ),
    "a setting is missing": (
        HEAD + '[deploy.a]\nuses = "plain"\n',
        "penstock.toml:4: [deploy.a] place: is missing",
    ),
    "a setting of another type": (
        HEAD + '[deploy.a]\nuses = "plain"\nplace = 3\n',
        "penstock.toml:6: [deploy.a] place: must be a string, and not 3",
    ),
    "no command": (
        HEAD + '[test.a]\nuses = "shell"\n',
        "penstock.toml:4: [test.a] run: is missing. Runs this: a string is a script for `sh -eu "
        "-c`, a list is a program and its arguments as they stand",
    ),
    "an empty command": (
        HEAD + '[test.a]\nuses = "shell"\nrun = ""\n',
        "penstock.toml:6: [test.a] run: there is nothing to run. A command is a script such as "
        '"make test", or a list',
    ),
    "a command is a number": (
        HEAD + '[test.a]\nuses = "shell"\nrun = 3\n',
        "penstock.toml:6: [test.a] run: must be a string or a list, and not 3",
    ),
    "a command holds a number": (
        HEAD + '[test.a]\nuses = "shell"\nrun = ["a", 3]\n',
        "penstock.toml:6: [test.a] run.1: must be a string, and not 3",
    ),
    "a directory outside": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\ncwd = "/etc"\n',
        'penstock.toml:7: [test.a] cwd: "/etc" leaves the workspace. Write it relative to the '
        'workspace, without ".."',
    ),
    "a policy of nothing": (
        HEAD + '[policy.prod]\nrequire = ["tests"]\n',
        "penstock.toml:4: [policy.prod] there is no [deploy.prod] that it could guard",
    ),
    "a policy misspelt": (
        HEAD + '[deploy.production]\nuses="plain"\nplace="/x"\n[policy.prodution]\nrequire = ["tests"]\n',
        "penstock.toml:7: [policy.prodution] there is no [deploy.prodution] that it could guard. "
        'Did you mean "production"?',
    ),
    "a policy without require": (
        HEAD + '[deploy.production]\nuses="plain"\nplace="/x"\n[policy.production]\n',
        'penstock.toml:7: [policy.production] require: is missing. "provenance", "tests", '
        '"scan", "approval", "signature", or steps such as "test.e2e"',
    ),
    "a requirement misspelt": (
        HEAD
        + '[build.b]\nuses="plain"\n[test.a]\nuses="plain"\n[deploy.production]\nuses="plain"\nplace="/x"\n[policy.production]\nrequire = ["test"]\n',
        'penstock.toml:12: [policy.production] require: "test" is no test, scan or verify step '
        'that comes before deploy.production. Did you mean "tests"? Entries are "provenance", '
        '"tests", "scan", "approval", "signature", "test.a"',
    ),
    "a required step misspelt": (
        HEAD
        + '[build.b]\nuses="plain"\n[test.unit]\nuses="plain"\n[deploy.production]\nuses="plain"\nplace="/x"\n[policy.production]\nrequire = ["test.unti"]\n',
        'penstock.toml:12: [policy.production] require: "test.unti" is no test, scan or verify '
        'step that comes before deploy.production. Did you mean "test.unit"? Entries are '
        '"provenance", "tests", "scan", "approval", "signature", "test.unit"',
    ),
    "a scan that there is not": (
        HEAD
        + '[build.b]\nuses="plain"\n[test.unit]\nuses="plain"\n[deploy.production]\nuses="plain"\nplace="/x"\n[policy.production]\nrequire = ["scan"]\n',
        'penstock.toml:12: [policy.production] require: "scan" is asked for, but no scan step '
        'that must pass comes before. Add one, or take "scan" out',
    ),
    "an approval that there is not": (
        HEAD
        + '[build.b]\nuses="plain"\n[test.unit]\nuses="plain"\n[deploy.production]\nuses="plain"\nplace="/x"\n[policy.production]\nrequire = ["approval", "signature"]\n',
        'penstock.toml:12: [policy.production] require: "approval" is asked for, but no approve '
        'step comes before. Add one, or take "approval" out',
    ),
    "require is a string": (
        HEAD
        + '[build.b]\nuses="plain"\n[deploy.production]\nuses="plain"\nplace="/x"\n[policy.production]\nrequire = "tests"\n',
        'penstock.toml:10: [policy.production] require: must be a list, and not "tests"',
    ),
    "require is misspelt": (
        HEAD
        + '[build.b]\nuses="plain"\n[deploy.production]\nuses="plain"\nplace="/x"\n[policy.production]\nrequires = ["tests"]\n',
        "penstock.toml:10: [policy.production] requires: there is no such key. Did you mean "
        '"require"? The keys are require, supersede',
    ),
    "a policy without a name": (
        HEAD + '[policy]\nrequire = ["tests"]\n',
        "penstock.toml:5: [policy] require: must stand in a section with a name: [policy.NAME], "
        "then require = …",
    ),
    "a role is a string": (
        HEAD + '[roles]\nmanagers = "ana"\n',
        "penstock.toml:5: [roles] managers: must be a list of identities, such as "
        '["ana@example.com", "key:7942…38bb"]',
    ),
    "a role is a table": (
        HEAD + '[roles.managers]\nmembers = ["ana"]\n',
        "penstock.toml:4: [roles] managers: must be a list of identities, such as "
        '["ana@example.com", "key:7942…38bb"]',
    ),
    "roles is a list": (
        'roles = ["ana"]\n' + HEAD,
        "penstock.toml:1: [roles] must be a section: [roles]",
    ),
    "a role of nobody": (
        HEAD + "[roles]\nmanagers = []\n",
        "penstock.toml:5: [roles] managers: has no member, so nobody could approve. Name some, "
        'such as ["ana@example.com", "key:7942…38bb"]',
    ),
    "a role misspelt": (
        HEAD
        + '[build.b]\nuses="plain"\n[approve.production]\nby = ["release-manager"]\n[deploy.production]\nuses="plain"\nplace="/x"\n[roles]\nrelease-managers = ["ana"]\n',
        'penstock.toml:7: [approve.production] by: "release-manager" is no role. Did you mean '
        '"release-managers"?',
    ),
    "by is a string": (
        HEAD + '[approve.production]\nby = "ana"\n[deploy.production]\nuses="plain"\nplace="/x"\n',
        'penstock.toml:5: [approve.production] by: must be a list, and not "ana"',
    ),
    "expires in words": (
        HEAD + '[approve.production]\nexpires = "tomorrow"\n[deploy.production]\nuses="plain"\nplace="/x"\n',
        'penstock.toml:5: [approve.production] expires: "tomorrow" is not a duration. Durations '
        'are such as "30s", "5m" or "1h30m"',
    ),
    "an approval of nothing": (
        HEAD + '[approve.production]\n[deploy.staging]\nuses="plain"\nplace="/x"\n',
        "penstock.toml:4: [approve.production] there is no [deploy.production] for it to "
        "approve. Add one, or name another with environment",
    ),
    "three faults": (
        HEAD + '[test.a]\nuses = "plain"\ntimeout = -5\nretries = "x"\nfoo = 1\n',
        'penstock.toml:6: [test.a] timeout: -5 is not a duration. Durations are such as "30s", '
        '"5m" or "1h30m"\n'
        'penstock.toml:7: [test.a] retries: must be a whole number, and not "x"\n'
        "penstock.toml:8: [test.a] foo: there is no such key",
    ),
    "fifty faults": (
        HEAD + "".join(f'[test.t{n}]\nuses = "shel"\n' for n in range(50)),
        "\n".join(
            [
                *(
                    f'penstock.toml:{n}: [test.t{(n - 5) // 2}] uses: the plugin "shel" is not enabled. Did you mean "shell"?'
                    for n in range(5, 45, 2)
                ),
                "… and 30 more",
            ]
        ),
    ),
    "nothing that gets the source": (
        '[penstock]\nplugins = ["shell"]\n[test.a]\nuses = "shell"\nrun = "true"\n',
        'penstock.toml:2: [penstock] plugins: no plugin was chosen that gets the source: add "git"',
    ),
    "a source that may fail": (
        HEAD + '[source.a]\nuses = "plain"\nallow_failure = true\n',
        "penstock.toml:6: [source.a] allow_failure: what a step of the phase source stands for "
        "can't be done without. Leave it out",
    ),
    "a matrix is a number": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nmatrix = 3\n',
        'penstock.toml:7: [test.a] matrix: must be a table, such as matrix = { python = ["3.11", "3.12"] }',
    ),
    "a matrix of nothing": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nmatrix = {}\n',
        'penstock.toml:7: [test.a] matrix: is empty. It names values, such as matrix = { python = ["3.11", "3.12"] }',
    ),
    "a matrix without a value": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nmatrix = { run = [] }\n',
        "penstock.toml:7: [test.a] matrix.run: is an empty list: there would be no variant",
    ),
    "a matrix with a value twice": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nmatrix = { run = ["true", "true"] }\n',
        'penstock.toml:7: [test.a] matrix.run: names "true" twice',
    ),
    "a matrix with a bad value": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nmatrix = { timeout = ["5m", "x"] }\n',
        'penstock.toml:7: [test.a] matrix.timeout: "x" is not a duration. Durations are such as "30s", "5m" or "1h30m"',
    ),
    "a matrix of plugins": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nmatrix = { uses = ["shell"] }\n',
        "penstock.toml:7: [test.a] matrix.uses: can't differ between variants: a section has one plugin: write a section for each",
    ),
    "a matrix of a key that there is not": (
        HEAD + '[test.a]\nuses = "shell"\nrun = "true"\nmatrix = { xyzzy = ["x"] }\n',
        "penstock.toml:7: [test.a] matrix.xyzzy: there is no such key. The keys are cwd, reports, run, and those of every section",
    ),
    "a cache that is a number": (
        HEAD + TEST + "cache = 5\n",
        "penstock.toml:7: [test.a] cache: must be true or false or a table, and not 5",
    ),
    "a cache with a word for a list": (
        HEAD + TEST + 'cache = { inputs = "src" }\n',
        'penstock.toml:7: [test.a] cache.inputs: must be a list, and not "src"',
    ),
    "a cache with a key that there is not": (
        HEAD + TEST + 'cache = { input = ["src"] }\n',
        'penstock.toml:7: [test.a] cache.input: there is no such key. Did you mean "inputs"? '
        "The keys are env, expires, ignore_secrets, inputs",
    ),
    "a cache with inputs elsewhere": (
        HEAD + TEST + 'cache = { inputs = ["../lib/**"] }\n',
        'penstock.toml:7: [test.a] cache.inputs.0: "../lib/**" leads out of the source. A glob is such as "src/**"',
    ),
    "a cache with a star in a word": (
        HEAD + TEST + 'cache = { inputs = ["src/a**"] }\n',
        'penstock.toml:7: [test.a] cache.inputs.0: in "src/a**", "**" must stand alone between slashes, as in "dist/**/*.whl"',
    ),
    "a cache without inputs that count": (
        HEAD + TEST + 'cache = { inputs = ["!docs"] }\n',
        'penstock.toml:7: [test.a] cache.inputs: names only files that do not count. Begin with those that do, such as "**"',
    ),
    "a cache that ends some time": (
        HEAD + TEST + 'cache = { expires = "soon" }\n',
        'penstock.toml:7: [test.a] cache.expires: "soon" is not a duration. Durations are such as "30s", "5m" or "1h30m"',
    ),
    "a cache with what is no variable": (
        HEAD + TEST + 'cache = { env = ["A=B"] }\n',
        'penstock.toml:7: [test.a] cache.env.0: "A=B" is no name of an environment variable. One is such as PORT',
    ),
    "a cache beside secrets": (
        HEAD + TEST + 'cache = true\nsecrets = { TOKEN = "env:TOKEN" }\n',
        "penstock.toml:7: [test.a] cache: the step is handed secrets, whose values are not compared: with "
        "another one it might come to another result. If not, say so: cache = { ignore_secrets = true }",
    ),
    "a cache that counts a secret": (
        HEAD + TEST + 'cache = { env = ["T"], ignore_secrets = true }\nsecrets = { T = "env:T" }\n',
        "penstock.toml:7: [test.a] cache.env: T is a secret of this step, and no secret's value is compared",
    ),
    "a cache where nothing is cached": (
        HEAD + DEPLOYED + '[verify.prod]\nuses = "shell"\nrun = "true"\ncache = true\n',
        "penstock.toml:12: [verify.prod] cache: has no place in this phase: what runs there is looked at in every "
        "run. It is for build, test and scan",
    ),
    "a cache of what is deployed": (
        HEAD + DEPLOYED + TEST + 'cache = true\nenvironment = "prod"\n',
        "penstock.toml:12: [test.a] cache: can't stand beside environment: what runs in prod may have changed "
        "though no input of this step has. Leave one of them out",
    ),
    "a cache behind a deployment": (
        HEAD + DEPLOYED + TEST + 'cache = true\nneeds = ["deploy.prod"]\n',
        "penstock.toml:12: [test.a] cache: the step comes after a deployment: what runs there may have changed "
        "though no input of this step has. Leave it out",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES.keys())
def test_a_key_that_can_not_be(place: Place, text: str, message: str) -> None:
    place.config.write_text(text)

    done = place.run("validate")

    assert (done.code, done.out, done.err) == (2, "", f"penstock: {message}\n")
    assert [path.name for path in place.root.iterdir()] == ["penstock.toml"]


@pytest.mark.parametrize(
    "name",
    [
        *("needs is misspelt", "a timeout in words", "a role misspelt", "a policy misspelt"),
        *("half a condition", "a condition asks for its own result", "a shared need is wrong"),
    ],
)
def test_a_run_is_refused_in_the_same_words(place: Place, name: str) -> None:
    text, message = CASES[name]
    place.config.write_text(text)

    for command in ("run", "plan", "status"):
        done = place.run(command)
        assert (done.code, done.out, done.err) == (2, "", f"penstock: {message}\n")


def test_who_nobody_knows_is_said_and_not_refused(place: Place) -> None:
    """A user of another machine may be meant: that is not for this one to say."""
    place.toml(
        """
        [approve.live]
        by = ["nobody-of-that-name", "ana@example.com", "key:7942", "root", "managers"]

        [deploy.live]
        uses = "plain"
        place = "/x"

        [roles]
        managers = ["ana"]
        """
    )

    done = place.run("validate")

    assert (done.code, done.out) == (0, "penstock.toml is right: 3 steps, plugins plain\n")
    assert done.err == (
        'penstock: penstock.toml:6: [approve.live] by: "nobody-of-that-name" is no role and no user of this '
        "machine. The roles are managers. Unless it is a user elsewhere, nobody can approve\n"
    )
    assert place.run("plan").err == ""
