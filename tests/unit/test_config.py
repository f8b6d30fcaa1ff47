"""The configuration: what is read over what, strict types, every mistake with its line, how it is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import DEFAULT_EXCLUDES, Boot, Btrfs, Config, Lvm, Retention, Vms, Zfs, load, settings
from engine.configvalues import duration, duration_text
from engine.errors import ConfigError
from tests.unit.conftest import Etc


def test_without_any_file_the_defaults_hold(etc: Etc) -> None:
    config = etc.load()
    assert config == Config()
    assert config.retention == Retention(min_keep=2, min_age=86400, max_store_ratio=1.5)
    assert set(config.origins.values()) == {"default"} and config.notes == ()
    assert config.store == "/var/lib/rollpoint/store" and config.root == "/" and config.databases == ()


def test_every_key_can_be_set(etc: Etc) -> None:
    config = etc.load("""\
store: /srv//points/
root: /srv/tree/.
excludes: ["*.tmp", /cache/]
databases: [/var/lib/mysql/, /var/lib/pgsql/../pg]
sources: [auto, /home]
consistent: {/: required, /home/: auto, /boot: off}
staging: /var/tmp
read_only: yes
compare_checksums: true
retention:
  min_keep: 3
  min_age: 12h
  max_store_ratio: 2
  max_age: 2y
  hourly: 24
  daily: 7
  weekly: 4
  monthly: 12
  yearly: 0
boot:
  disks: [/dev/sda/, /srv/disk.img, /dev/sda]
  restore: no
  facts: false
vms:
  repositories: [auto, /srv//vms/]
""")
    assert config == Config(
        store="/srv/points",
        root="/srv/tree",
        excludes=("*.tmp", "/cache/"),
        databases=("/var/lib/mysql", "/var/lib/pg"),
        sources=("auto", "/home"),
        consistent=(("/", "required"), ("/home", "auto")),
        staging="/var/tmp",
        read_only=True,
        compare_checksums=True,
        retention=Retention(3, 12 * 3600, 2.0, 2 * 365 * 86400, 24, 7, 4, 12, 0),
        boot=Boot(("/dev/sda", "/srv/disk.img"), False, False),
        vms=Vms(("auto", "/srv/vms")),
    )
    assert config.origins["store"] == f"{etc.config}:1"
    assert config.origins["retention.daily"] == f"{etc.config}:16"
    assert config.origins["retention.yearly"].endswith(":19")
    assert config.origins["boot.facts"].endswith(":23")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("consistent: sometimes", "expected off, auto or required, or a mapping of mount points to these, got 'some"),
        ("consistent: on", "consistent: expected off, auto or required, or a mapping of mount points to these, got on"),
        ("consistent: [auto]", "consistent: expected off, auto or required, or a mapping of mount points to these"),
        ("consistent: {/: [auto]}", "or a mapping of mount points to these, got a list"),
        ("consistent: {home: auto}", "consistent: expected the absolute path of a mount point, got 'home'"),
        ("consistent: {/home: auto, /home/: off}", "consistent: expected each mount point once, got '/home/'"),
        ("boot: {disks: /dev/sda}", "boot.disks: expected auto, or a list of disks (or image files)"),
        ("boot: {disks: [sda]}", "got 'sda' in it"),
        ("boot: {disks: [auto, 1]}", "got 'auto' in it"),
        ("boot: {disks: yes}", "as absolute paths, got yes"),
        ("boot: {restore: 1}", "boot.restore: expected true or false, got 1"),
        ("boot: auto", "boot: expected a mapping (KEY: VALUE lines), got 'auto'"),
        ("boot: {disk: auto}", "boot.disk: unknown key, did you mean disks?"),
        ("vms: {repositories: auto}", "vms.repositories: expected a list, got 'auto'"),
        ("vms: {repositories: []}", "vms.repositories: expected a list that is not empty"),
        ("vms: {repositories: [OVS]}", "expected auto or the absolute path of a directory, got 'OVS'"),
        ("vms: {repository: []}", "vms.repository: unknown key, did you mean repositories?"),
        ("zfs: {datasets: [tank@daily]}", "zfs.datasets: expected auto or the name of a data set, got 'tank@daily'"),
        ("zfs: {datasets: [/tank]}", "expected auto or the name of a data set, got '/tank'"),
        ("lvm: {volumes: [/dev/vg/root]}", "expected auto or a logical volume as VG/LV, got '/dev/vg/root'"),
        ("lvm: {volumes: [vg/-a]}", "expected auto or a logical volume as VG/LV, got 'vg/-a'"),
        ("lvm: {size: 0}", "lvm.size: expected percent of the origin, from 1, got 0"),
        ("btrfs: {subvolumes: [home]}", "expected auto or the absolute path of a subvolume, got 'home'"),
        ("btrfs: {prune: [Some One]}", "btrfs.prune: expected the name of a program as `list` shows it"),
    ],
)
def test_wrong_settings_of_sections_are_explained(etc: Etc, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        etc.load(text)
    assert caught.value.message.startswith(f"{etc.config}:1: ") and complaint in caught.value.message


def test_boot_disks(etc: Etc) -> None:
    assert etc.load("boot:").boot == etc.load("boot: {disks: auto}").boot == Boot()
    assert etc.load("boot: {disks: []}").boot.disks == ()
    rows = {key: value for key, value, _ in settings(etc.load("boot: {disks: [/dev/sda]}"))}
    assert rows["boot.disks"] == "/dev/sda" and rows["boot.restore"] == "yes"
    assert {k: v for k, v, _ in settings(Config())}["boot.disks"] == "auto"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "~",
        "retention:\n",
        "exclude:\ndatabases:\n",
        "\ufeffretention: {}\n",
        "staging: null\nretention: {max_age: null}",
    ],
)
def test_empty_parts_change_nothing(etc: Etc, text: str) -> None:
    assert etc.load(text) == Config()


def test_null_lifts_the_size_limit(etc: Etc) -> None:
    assert etc.load("retention: {max_store_ratio: null}").retention.max_store_ratio is None


def test_later_files_win_and_lists_add(etc: Etc) -> None:
    etc.write(
        "rollpoint/config.yaml",
        "exclude: ['*.a']\ndatabases: [/db/a]\nretention: {daily: 1, weekly: 1}\n",
    )
    etc.write("rollpoint/conf.d/20.yaml", "exclude: ['*.c']\nretention:\n  daily: 3\n")
    etc.write("rollpoint/conf.d/10.yaml", "exclude: ['*.b', '*.pid']\ndatabases: [/db/b, /db/a]\n")
    etc.write("rollpoint/conf.d/11.yaml", "retention: {daily: 2}\n")
    etc.write("rollpoint/conf.d/.hidden.yaml", "retention: {weekly: 9}\n")
    etc.write("rollpoint/conf.d/25.yaml", "exclude: ['*.a', '*.pid']\n")
    etc.write("rollpoint/conf.d/30.yml", "retention: {daily: 9}\n")
    config = etc.load()
    assert config.excludes == (*DEFAULT_EXCLUDES, "*.a", "*.b", "*.c")
    assert config.databases == ("/db/a", "/db/b")
    assert (config.retention.daily, config.retention.weekly) == (3, 1)
    own = f"{etc.path}/rollpoint"
    assert config.origins["retention.daily"] == f"{own}/conf.d/20.yaml:3"
    files = ("config.yaml", "conf.d/10.yaml", "conf.d/20.yaml")
    assert config.origins["excludes"] == ", ".join(["default", *(f"{own}/{name}:1" for name in files)])
    assert config.notes == (f"{own}/conf.d/30.yml is not read: the name must end in .yaml",)


def test_excludes_replaces_and_exclude_adds(etc: Etc) -> None:
    etc.write("rollpoint/conf.d/1.yaml", "exclude: [b]\n")
    assert etc.load("exclude: [x]\nexcludes: [a]\n").excludes == ("a", "b")
    assert etc.load("excludes: []\n").excludes == ("b",)


# --- the command line ---


def test_the_command_line_wins(etc: Etc) -> None:
    config = etc.load("store: /a\nroot: /b\nretention: {daily: 7}\n", store="/c//d/")
    assert (config.store, config.root, config.retention.daily) == ("/c/d", "/b", 7)
    assert config.origins["store"] == "command line"


def test_store_and_root_together_leave_the_system_alone(etc: Etc, tmp_path: Path) -> None:
    etc.write("database_locations", "/var/lib/mysql\n")
    etc.write("system_snapshots.conf", "RATIO=3\n")
    etc.write("rollpoint/conf.d/1.yaml", "no such: key")
    root = tmp_path / "tree"
    Etc(root / "etc").write("database_locations", "/db/one\n")
    Etc(root / "etc").write("rollpoint/database_locations", "/db/two\n")
    config = etc.load("broken: [", store=str(tmp_path / "s"), root=str(root))
    assert config == Config(store=str(tmp_path / "s"), root=str(root), databases=("/db/one", "/db/two"))


def test_the_real_root_keeps_its_databases_with_store_and_root(etc: Etc) -> None:
    etc.write("database_locations", "/var/lib/mysql\n")
    assert etc.load("broken: [", store="/s", root="/").databases == ("/var/lib/mysql",)


def test_root_alone_reads_both_lists(etc: Etc, tmp_path: Path) -> None:
    etc.write("database_locations", "/db/system\n")
    root = tmp_path / "tree"
    Etc(root / "etc").write("database_locations", "/db/tree\n")
    assert etc.load("retention: {daily: 7}", root=str(root)).databases == ("/db/system", "/db/tree")


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(store="s/../points", root=".", etc=str(tmp_path / "none"))
    assert (config.store, config.root) == (f"{tmp_path}/points", str(tmp_path))


@pytest.mark.parametrize("given", ["", "a\0b"])
def test_an_impossible_directory_is_no_directory(etc: Etc, given: str) -> None:
    assert "--store: expected a directory" in etc.fails("", store=given)[0]


def test_a_config_file_stands_alone(etc: Etc, tmp_path: Path) -> None:
    etc.write("database_locations", "/db\n")
    etc.write("rollpoint/config.yaml", "broken: [")
    mine = tmp_path / "mine.yaml"
    mine.write_text("store: /x\n")
    config = load(str(mine), root="/r", etc=str(etc.path))
    assert config == Config(store="/x", root="/r")


# --- mistakes ---

BELOW = "expected the absolute path of a directory below the root"
COUNT = "expected a whole number of points, 0 for none"
AGE = "expected an age such as 3600 (seconds), 45min, 12h, 90d, 4w or 2y"
RATIO = "expected a number from 1 (the store holds the source once), or null for no limit"
PATTERN = "expected an rsync exclude pattern"
ORDERS = f"{PATTERN} that does not begin with !, #, ;, '+ ' or '- '"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("store: points", "FILE:1: store: expected an absolute path, got 'points'"),
        ("\nstore:", "FILE:2: store: expected an absolute path, got nothing"),
        ("store: [/a]", "FILE:1: store: expected an absolute path, got a list"),
        ("root: {a: b}", "FILE:1: root: expected an absolute path, got a mapping"),
        ("root: 1", "FILE:1: root: expected an absolute path, got 1"),
        ('root: "/a\\0b"', "FILE:1: root: expected an absolute path, got '/a\\x00b'"),
        ('root: "/a\\ud800"', "FILE:1: root: expected an absolute path, got '/a\\ud800'"),
        ("root: ~/x", "FILE:1: root: expected an absolute path, got '~/x'"),
        ("read_only: 1", "FILE:1: read_only: expected true or false, got 1"),
        ("read_only: 'yes'", "FILE:1: read_only: expected true or false, got 'yes'"),
        ("databases: /db", "FILE:1: databases: expected a list, got '/db'"),
        ("databases:\n- /db\n- db", f"FILE:3: databases: {BELOW}, got 'db'"),
        ("databases: [//]", f"FILE:1: databases: {BELOW}, got '//'"),
        ("sources: []", "FILE:1: sources: expected a list that is not empty, got an empty one"),
        (
            "sources: [all]",
            "FILE:1: sources: expected auto or the absolute path of a mount point, got 'all'",
        ),
        ("excludes:", "FILE:1: excludes: expected a list, got nothing"),
        ("exclude: [3]", f"FILE:1: exclude: {PATTERN}, got 3"),
        ('exclude: ["a\\nb"]', f"FILE:1: exclude: {PATTERN}, got 'a\\x0ab'"),
        ("exclude: ['!']", f"FILE:1: exclude: {ORDERS}, got '!'"),
        ("exclude: ['**']", f"FILE:1: exclude: {PATTERN} that leaves something to save, got '**'"),
        ("retention: 3", "FILE:1: retention: expected a mapping (KEY: VALUE lines), got 3"),
        ("retention:\n  daily: yes", f"FILE:2: retention.daily: {COUNT}, got yes"),
        ("retention: {daily: -1}", f"FILE:1: retention.daily: {COUNT}, got -1"),
        ("retention: {daily: 010}", f"FILE:1: retention.daily: {COUNT}, got 010"),
        ("retention: {daily: 1:30}", f"FILE:1: retention.daily: {COUNT}, got 1:30"),
        ("retention: {daily: 7.0}", f"FILE:1: retention.daily: {COUNT}, got 7.0"),
        ("retention: {min_keep: 0}", f"FILE:1: retention.min_keep: {COUNT[:-10]}at least 1, got 0"),
        ("retention: {max_age: 3m}", f"FILE:1: retention.max_age: {AGE}, got '3m'"),
        ("retention: {min_age: null}", f"FILE:1: retention.min_age: {AGE}, got nothing"),
        ("retention: {max_store_ratio: .inf}", f"FILE:1: retention.max_store_ratio: {RATIO}, got .inf"),
        ("retention: {max_store_ratio: 0.9}", f"FILE:1: retention.max_store_ratio: {RATIO}, got 0.9"),
        ("retentoin: {}", "FILE:1: retentoin: unknown key, did you mean retention?"),
        ("retention:\n  dayly: 3", "FILE:2: retention.dayly: unknown key, did you mean daily?"),
        ("store: /a\nstore: /b", "FILE:2: store: expected once, got it again (first in line 1)"),
        ("retention.daily: 3", "FILE:1: retention.daily: unknown key, did you mean retention?"),
        ("- a", "FILE:1: expected a mapping (KEY: VALUE lines), got a list"),
        ("store: [", "FILE:1: no valid YAML: expected the node content, but found '<stream end>'"),
        ("a: b: c", "FILE:1: no valid YAML: mapping values are not allowed here"),
        ("store: /a\n---\nstore: /b", "FILE:2: no valid YAML: but found another document"),
        ("store: *here", "FILE:1: no valid YAML: found undefined alias 'here'"),
        (
            "root: !!python/name:os.system ''",
            "FILE:1: root: expected an absolute path, got tag:yaml.org,2002:python/name:os.system",
        ),
        (b"\n\nstore: /caf\xe9", "FILE:3: expected UTF-8 text, got byte 0xe9"),
        (b"\nstore: /a\x1b", "FILE:2: no valid YAML: special characters are not allowed"),
        (b"a\0", "FILE:1: no valid YAML: special characters are not allowed"),
    ],
)
def test_a_mistake_is_named_with_its_line(etc: Etc, text: str | bytes, problem: str) -> None:
    assert etc.fails(text) == [problem]


def test_an_unknown_key_without_a_near_one_lists_those_there_are(etc: Etc) -> None:
    assert etc.fails("zzz: 1")[0].startswith("FILE:1: zzz: unknown key, known are store, root, ")


def test_all_mistakes_come_at_once(etc: Etc) -> None:
    etc.write("rollpoint/conf.d/a.yaml", "staging: 3\n")
    etc.write("database_locations", "db\n")
    assert etc.fails("store: a\nretention:\n  daily: no\nread_only: 0\n", root="") == [
        "FILE:1: store: expected an absolute path, got 'a'",
        "FILE:3: retention.daily: expected a whole number of points, 0 for none, got no",
        "FILE:4: read_only: expected true or false, got 0",
        "rollpoint/conf.d/a.yaml:1: staging: expected an absolute path, got 3",
        "command line: --root: expected a directory, got ''",
        "database_locations:1: expected a database's absolute path, got 'db'",
    ]


def test_a_flood_of_mistakes_is_cut_short(etc: Etc) -> None:
    problems = etc.fails("".join(f"zz{n}: 1\n" for n in range(50)))
    assert len(problems) == 12 and problems[-1] == "and more"


def test_deep_nesting_is_a_mistake_and_no_crash(etc: Etc) -> None:
    assert etc.fails("a: " + "[" * 50_000) == ["FILE:1: no valid YAML: nested too deep"]


def test_aliases_cost_nothing(etc: Etc) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert len(etc.fails(bomb + "exclude: *i\n")) == 10


def test_a_hostile_value_stays_on_its_line(etc: Etc) -> None:
    text = etc.fails('store: "x\\e[31m\\n\\u202e[/red]"')[0]
    assert text.isprintable() and "\\x1b[31m\\x0a\\u202e[/red]" in text


@given(st.binary(max_size=60))
def test_no_bytes_crash_it(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("etc")
    file = folder / "c.yaml"
    file.write_bytes(data)
    try:
        config = load(str(file))
    except ConfigError as error:
        assert error.message.startswith(str(file))
    else:
        assert isinstance(config, Config)


# --- ages, the settings, the patterns ---


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("3600", 3600),
        ("90 s", 90),
        ("45min", 2700),
        ("12h", 43200),
        ("90d", 7776000),
        ("4w", 2419200),
        ("2y", 63072000),
        ("", None),
        ("3m", None),
        ("d", None),
        ("1.5d", None),
        ("-1", None),
        ("1d2h", None),
        ("٣d", None),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert duration(text) == seconds


@given(st.integers(0, 10**9))
def test_a_duration_in_words_means_the_same(seconds: int) -> None:
    number, unit = duration_text(seconds).split()
    assert int(number) * {"s": 1, "hour": 3600, "day": 86400}[unit.removesuffix("s") or "s"] == seconds


def test_what_snapshots_of_the_storage_are_about(etc: Etc) -> None:
    config = etc.load("zfs: {datasets: [tank/a b, rpool], recursive: true, prune: [sanoid, unknown]}\n"
                      "lvm: {volumes: [vg-0/root.1], size: 40}\nbtrfs: {subvolumes: []}\n")
    assert config.zfs == Zfs(("tank/a b", "rpool"), True, ("sanoid", "unknown"))
    assert config.lvm == Lvm(("vg-0/root.1",), 40)
    assert config.btrfs == Btrfs(())


def test_settings_show_every_value_and_where_it_comes_from(etc: Etc) -> None:
    config = etc.load(
        'retention: {daily: 7, max_age: 90d, max_store_ratio: null}\nstore: "/a\\e"\nread_only: true\n'
    )
    rows = {key: (value, origin) for key, value, origin in settings(config)}
    assert rows["store"] == ("/a\\x1b", f"{etc.config}:2")
    assert rows["retention.daily"] == ("7", f"{etc.config}:1")
    assert rows["retention.max_age"][0] == "90 days"
    assert rows["retention.min_age"] == ("1 day", "default")
    assert rows["retention.max_store_ratio"][0] == "no limit"
    assert rows["read_only"][0] == "yes" and rows["compare_checksums"][0] == "no"
    assert rows["staging"][0] == "in the store" and rows["databases"][0] == "none"
    assert rows["excludes"][0].startswith("*/mnt/, ")
    assert list(rows)[:2] == ["store", "root"] and len(rows) == 33
    assert all(text.isprintable() for row in rows.values() for text in row)


@pytest.mark.parametrize(
    ("text", "root", "home", "shown"),
    [
        ("off", "off", "off", "off"),
        ("auto", "auto", "auto", "auto"),
        ("required", "required", "required", "required"),
        ("{/: required, /srv: auto}", "required", "off", "/: required, /srv: auto"),
        ("{/home: off}", "off", "off", "off"),
    ],
)
def test_what_is_to_be_consistent(etc: Etc, text: str, root: str, home: str, shown: str) -> None:
    config = etc.load(f"consistent: {text}\n")
    assert (config.consistency("/"), config.consistency("/home")) == (root, home)
    assert {key: value for key, value, _ in settings(config)}["consistent"] == shown


def test_settings_of_a_config_made_by_hand() -> None:
    assert {origin for _, _, origin in settings(Config())} == {"default"}


def test_yaml_is_only_imported_for_a_file() -> None:
    code = (
        "import sys; from engine.config import load; load(store='/s', root='/nowhere/at/all')\n"
        "print('yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
