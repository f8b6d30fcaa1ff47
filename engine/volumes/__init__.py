"""Snapshots that the storage makes: ZFS, LVM and btrfs."""
