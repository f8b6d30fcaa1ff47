"""The menus of boot loaders, read the way their programs read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.machine import bootmenu
from engine.machine.bootmenu import Menu, grubenv, menus
from engine.machine.tree import Tree
from tests.boot_trees import BOOT, NEW, OLD, ROOT, grub_cfg, write
from tests.conftest import cannot_run


def read(root: Path, esps: tuple[bytes, ...] = ()) -> Menu:
    found = menus(Tree(os.fsencode(root)), b"boot", esps)
    assert len(found) == 1
    return found[0]


def env(**values: str) -> bytes:
    text = "# GRUB Environment Block\n" + "".join(f"{k}={v}\n" for k, v in values.items())
    return text.encode().ljust(1024, b"#")


def test_the_fixture_is_grub_script(tmp_path: Path) -> None:
    if not shutil.which("grub-script-check"):
        cannot_run("GRUB's own reader of grub.cfg (not installed: grub-common)")
    subprocess.run(["grub-script-check", str(write(tmp_path, "grub.cfg", grub_cfg("", BOOT)))], check=True)


def test_a_debian_menu(tmp_path: Path) -> None:
    write(tmp_path, "boot/grub/grub.cfg", grub_cfg("", BOOT))
    menu = read(tmp_path)
    assert (menu.kind, menu.source, menu.default, menu.notes) == ("GRUB 2", "/boot/grub/grub.cfg", 0, ())
    assert [e.title for e in menu.entries] == [
        "Debian", f"Debian, with Linux {NEW}", f"Debian, with Linux {OLD}", "UEFI Firmware Settings"]  # fmt: skip
    first, _, old, firmware = menu.entries
    assert first.kernel == f"/vmlinuz-{NEW}" and first.initrds == (f"/initrd.img-{NEW}",)
    assert first.options == (f"root=UUID={ROOT}", "ro", "quiet")
    assert old.menu == ("gnulinux-advanced",) and old.id == f"gnulinux-{OLD}-advanced"
    assert firmware.kernel == "" and menu.searches == (BOOT,)


@pytest.mark.parametrize(
    ("default", "saved", "index"),
    [
        ("1>1", "", 2),
        ("gnulinux-advanced>1", "", 2),
        (f"gnulinux-advanced>gnulinux-{OLD}-advanced", "", 2),
        ("2", "", 3),
        ("${saved_entry}", f"gnulinux-advanced>gnulinux-{OLD}-advanced", 2),
        ("${saved_entry}", "Debian", 0),
        ("${saved_entry}", "1", 1),
        ("${saved_entry}", "", 0),
    ],
)
def test_which_entry_starts_by_itself(tmp_path: Path, default: str, saved: str, index: int) -> None:
    write(tmp_path, "boot/grub/grub.cfg", grub_cfg("", BOOT, default))
    if saved:
        write(tmp_path, "boot/grub/grubenv", env(saved_entry=saved))
    menu = read(tmp_path)
    assert (menu.default, menu.notes) == (index, ())


def test_a_submenu_is_also_found_by_its_title(tmp_path: Path) -> None:
    text = grub_cfg("", BOOT, "Advanced options>1").replace("$menuentry_id_option 'gnulinux-advanced' ", "")
    write(tmp_path, "boot/grub/grub.cfg", text)
    assert read(tmp_path).default == 2


@pytest.mark.parametrize("saved", ["gone", "7", "1>9", "gnulinux-advanced>gone"])
def test_a_default_that_does_not_exist_is_the_first_and_told(tmp_path: Path, saved: str) -> None:
    write(tmp_path, "boot/grub/grub.cfg", grub_cfg("", BOOT, "${saved_entry}"))
    write(tmp_path, "boot/grub/grubenv", env(saved_entry=saved))
    menu = read(tmp_path)
    assert menu.default == 0 and f"'{saved}' does not exist" in menu.notes[0]


def test_the_next_start_may_be_another(tmp_path: Path) -> None:
    write(tmp_path, "boot/grub/grub.cfg", grub_cfg("", BOOT))
    write(tmp_path, "boot/grub/grubenv", env(next_entry="1>1"))
    menu = read(tmp_path)
    assert menu.default == 2 and "next start" in menu.notes[0]


def test_loader_entries_of_a_red_hat(tmp_path: Path) -> None:
    cfg = 'set default="${saved_entry}"\nset kernelopts="root=/dev/mapper/vg-root ro crashkernel=auto"\nblscfg\n'
    write(tmp_path, "boot/grub2/grub.cfg", cfg)
    for release in ("5.14.0-70.el9.x86_64", "5.14.0-362.el9.x86_64"):
        text = f"title Linux ({release})\nversion {release}\nlinux /vmlinuz-{release}\n"
        text += f"initrd /initramfs-{release}.img $tuned_initrd\noptions $kernelopts $tuned_params\n"
        text += "grub_users $grub_users\n"
        write(tmp_path, f"boot/loader/entries/0123-{release}.conf", text)
    write(tmp_path, "boot/grub2/grubenv", env(saved_entry="0123-5.14.0-70.el9.x86_64"))
    menu = read(tmp_path)
    assert [e.id for e in menu.entries] == ["0123-5.14.0-362.el9.x86_64.conf", "0123-5.14.0-70.el9.x86_64.conf"]
    assert menu.default == 1 and menu.notes == ()
    assert menu.entries[1].options == ("root=/dev/mapper/vg-root", "ro", "crashkernel=auto")
    assert menu.entries[1].initrds == ("/initramfs-5.14.0-70.el9.x86_64.img",)


def test_systemd_boot(tmp_path: Path) -> None:
    write(tmp_path, "boot/loader/loader.conf", "default arch*\ntimeout 3\n")
    write(tmp_path, "boot/loader/entries/zen.conf", "title Zen\nlinux /vmlinuz-zen\n")
    text = "title Arch\nlinux /vmlinuz-linux\ninitrd /intel-ucode.img\ninitrd /initramfs-linux.img\n"
    write(tmp_path, "boot/loader/entries/arch.conf", text + "options root=UUID=1 rw\n")
    menu = read(tmp_path, (b"boot",))
    assert menu.default is not None and menu.entries[menu.default].title == "Arch"
    assert menu.entries[menu.default].initrds == ("/intel-ucode.img", "/initramfs-linux.img")
    write(tmp_path, "boot/loader/loader.conf", "default gone.conf\n")
    assert "fits no entry" in read(tmp_path, (b"boot",)).notes[0]


def test_grub_legacy_with_xen(tmp_path: Path) -> None:
    text = """#boot=/dev/sda
default=1
title Linux (2.6.39)
\troot (hd0,0)
\tkernel /vmlinuz-2.6.39 ro root=/dev/VolGroup00/LogVol00 rhgb
\tinitrd /initrd-2.6.39.img
title Oracle VM Server (xen-4.1.3)
\troot (hd0,0)
\tkernel (hd0,0)/xen.gz console=com1,vga dom0_mem=max:1024M
\tmodule /vmlinuz-2.6.39-300.el5uek ro root=UUID=1
\tmodule /initrd-2.6.39-300.el5uek.img
"""
    write(tmp_path, "boot/grub/menu.lst", text)
    menu = read(tmp_path)
    assert menu.default == 1 and menu.kind == "GRUB legacy"
    plain, xen = menu.entries
    assert plain.kernel == "/vmlinuz-2.6.39" and plain.options[1] == "root=/dev/VolGroup00/LogVol00"
    assert xen.hypervisor == "/xen.gz" and xen.kernel == "/vmlinuz-2.6.39-300.el5uek"
    assert xen.initrds == ("/initrd-2.6.39-300.el5uek.img",) and xen.options == ("ro", "root=UUID=1")


def test_xen_in_grub_2(tmp_path: Path) -> None:
    text = "menuentry 'Xen' {\n multiboot2 /xen-4.17.gz placeholder\n module2 /vmlinuz-6 placeholder root=UUID=1 ro\n"
    write(tmp_path, "boot/grub/grub.cfg", text + " module2 --nounzip /initrd.img-6\n}\n")
    entry = read(tmp_path).entries[0]
    assert (entry.hypervisor, entry.kernel, entry.initrds) == ("/xen-4.17.gz", "/vmlinuz-6", ("/initrd.img-6",))
    assert "root=UUID=1" in entry.options


def test_extlinux(tmp_path: Path) -> None:
    text = "DEFAULT two\nLABEL one\n KERNEL /vmlinuz-1\n APPEND initrd=/i1 root=LABEL=r\n"
    write(tmp_path, "boot/extlinux/extlinux.conf", text + "LABEL two\n LINUX /vmlinuz-2\n INITRD /i2\n")
    menu = read(tmp_path)
    assert menu.default == 1 and menu.entries[0].initrds == ("/i1",) and menu.entries[1].initrds == ("/i2",)


def test_no_menu(tmp_path: Path) -> None:
    assert menus(Tree(os.fsencode(tmp_path))) == []


def test_a_short_grub_cfg_searches() -> None:
    assert bootmenu.searched(f"search.fs_uuid {BOOT} root hd0,gpt2\nset prefix=($root)'/grub'\n") == (BOOT,)
    assert bootmenu.searched(f"search --no-floppy --fs-uuid --set=dev {BOOT}\n") == (BOOT,)
    assert bootmenu.searched(f"search --no-floppy --fs-uuid --set dev {BOOT}\n") == (BOOT,)
    assert bootmenu.searched("search --label root\n") == ()


def test_grubenv() -> None:
    assert grubenv(env(saved_entry="a b", empty="")) == {"saved_entry": "a b", "empty": ""}
    assert grubenv(b"") == {} and grubenv(bytes(1024)) == {}


PIECES = ["menuentry 'a' {", "}", "submenu b {", "linux /v root=UUID=1", "initrd", "set default=", "{", "menuentry",
          "set", "set default=1>", "linux", "module2 x", "multiboot", "blscfg", "search", "search.fs_uuid",
          "menuentry 'unclosed", "search --fs-uuid --set", "function f {"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)))
def test_nothing_makes_grub_cfg_raise(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    root = tmp_path_factory.mktemp("tree")
    write(root, "boot/grub/grub.cfg", "\n".join(lines))
    menu = read(root)
    assert menu.default is None or menu.default < len(menu.entries)


@given(st.binary(max_size=200))
def test_nothing_makes_any_menu_raise(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path in ("boot/grub/menu.lst", "boot/grub/grub.cfg", "boot/grub/grubenv", "boot/loader/entries/x.conf",
                 "boot/loader/loader.conf"):
        write(root, path, data)
    menus(Tree(os.fsencode(root)), b"boot", [b"boot"])
    (root / "boot/grub/grub.cfg").unlink()
    (root / "boot/loader/entries/x.conf").unlink()
    menus(Tree(os.fsencode(root)))
