"""The lab: real Debian systems in QEMU, with real GRUB, LVM and UEFI, ruined and rolled back.

Everything is emulated (TCG): no KVM is needed, a boot takes some 15 seconds of an idle processor. What it stands on is
made once and kept in ~/.cache/rollpoint (ROLLPOINT_CACHE): a Debian tree and the rescue system that goes with it
(image.py), and a disk for each layout on which GRUB has been installed (layouts.py). Tests get copies.

To write a test, take the fixtures of conftest.py and the verbs of layouts.py and steps.py:

    @pytest.mark.xdist_group("uefi")            # tests of one layout share a process, and what it has made
    def test_something(lab_image, lab):
        case = lab("uefi")                      # bios-mbr, bios-gpt, uefi or bios-lvm: a system that was booted, in
                                                # which a point was taken; case.record is what it must bring back
        steps.ruin_files(case.system)           # on the switched off disk, from outside
        with rescue(lab_image, case.system.disk, case.store) as machine:        # the rescue CD: vdb, vdc
            steps.come_up(machine)              # waits; the store's disk gets mounted at /backup
            machine.sh("…")                     # run, put and get files: machine.py
            machine.power_off()                 # else the plug is pulled
        with boot(case.system, case.store) as machine:      # the system by its own boot loader: vda, vdb
            machine.wait_up()                   # raises NoBoot; wait_dead() is for what must not come up
        steps.must_be_back(case, table, sectors)

    installed(lab_image, "uefi", directory)     # a system that was never booted
    steps.rescued(lab_image, case)              # the rescue CD with the broken system mounted at /mnt already
    case.system.mounted()                       # its files on this machine, for looking and (write=True) for ruining

    with guest(guest_image, disk) as machine:   # guest.py: a system with ZFS and LVM, booted without a boot loader

A guest has no network. The program that runs in it is the kit's rollpoint.pyz (steps.PROGRAM in a running system,
steps.KIT on the store's disk), on the guest's own Python. ROLLPOINT_LAB_PULLS and ROLLPOINT_LAB_SEED are for the power
cuts (test_power_cut.py).
"""
