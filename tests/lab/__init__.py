"""The lab: a real Debian kernel in QEMU, with real LVM, ZFS, GRUB and UEFI."""
