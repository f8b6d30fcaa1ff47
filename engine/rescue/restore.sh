#!/bin/sh
# restore.sh: gets restore points out of a Rollpoint store without Rollpoint.
#
#   sh restore.sh [STORE] list               shows the points of a store
#   sh restore.sh [STORE] POINT DIR          rebuilds a point in DIR, a new or empty directory
#   sh restore.sh [STORE] vms                shows the inventory points of virtual machines
#   sh restore.sh [STORE] vms POINT          shows the files of one: vm.cfg and what lies beside them
#   sh restore.sh [STORE] vms POINT FILE NEW writes one of these to NEW, a new file; FILE is its number, its path, or the
#                                            name of the VM whose vm.cfg it is
#
# POINT is a number from the list, an id, the beginning of one, or `latest`. STORE may be left out when this file lies
# in STORE/rescue. Nothing in the store is ever written, and nothing that was in DIR is ever deleted.
#
# Needs: a POSIX sh (dash, bash, busybox), rsync, zstd, and of coreutils or busybox: awk sed sort od dd find xargs stat
# touch and the like. tar helps a touch that knows no fractions of seconds. setfattr puts extended attributes, ACLs and
# capabilities back (setfacl: ACLs); what cannot be put back is said at the end. Run it as root, or owners are lost.
#
# Exit status: 0 the directory is the point; 3 it is, but for what was named in warnings; 1 failed; 2 wrong usage.
# While it works, and after a failure, DIR holds a directory UNFINISHED-restore.*: then it is not the point.
#
# How it works. STORE/tree is the newest point. Each older one has points/ID/diff/changes.zst: one line per path that
# differs from the next newer point (FORMAT.md has all of it). These lines are plain ASCII, names in them are escaped
# as \ooo, so awk can work on them whatever a name holds; names become bytes only as the words of a command, always
# with ./ before them. First a plan is made of all lines on the way (plan.* in the scratch directory), then it is
# carried out in this order:
#   1. make all directories that are needed
#   2. make every file, link and device that differs, complete with its attributes
#   3. copy everything that does not differ from tree/ (rsync)
#   4. give the directories that differ their attributes (rsync, from empty directories made for that)
#   5. look whether it is all there, and whether what was put together has the recorded checksums

set -u
LC_ALL=C TZ=UTC
PATH=${PATH:-/usr/sbin:/usr/bin:/sbin:/bin}
export LC_ALL TZ PATH
unset CDPATH ENV
umask 077
TAB=$(printf '\t')
LARGE=65536                     # files of this size on are made with holes where they are empty
TEMP='' SCRATCH='' DIR='' PART='' SECONDS_ONLY='' SOME_LEFT_OUT=''

say() { printf '%s\n' "$*"; }
warn() { SOME_LEFT_OUT=yes; printf 'restore.sh: warning: %s\n' "$*" >&2; }
die() { printf 'restore.sh: %s\n' "$*" >&2; exit 1; }
usage() {
    for words in list 'POINT DIR' vms 'vms POINT' 'vms POINT FILE NEW'; do
        printf 'usage: sh restore.sh [STORE] %s\n' "$words" >&2
    done
    exit 2
}
have() { command -v "$1" >/dev/null 2>&1; }
lines() { wc -l <"$TEMP/$1" | tr -d ' '; }

# Whatever happens: our own scratch goes; DIR keeps the mark that it is unfinished.
cleanup() {
    status=$?
    trap - EXIT
    [ -z "$TEMP" ] || rm -rf -- "$TEMP"
    [ -z "$PART" ] || rm -f -- "$PART"
    if [ -n "$SCRATCH" ] && [ -d "$SCRATCH" ]; then
        chmod -R u+rwx "$SCRATCH" 2>/dev/null
        rm -rf -- "$SCRATCH"
        mkdir -- "$SCRATCH"
        printf 'restore.sh: failed. %s is NOT a whole restore point. Remove it before you try again.\n' "$DIR" >&2
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# run COMMAND…: runs it and shows what it says only when it fails; any failure ends everything.
run() {
    "$@" >"$TEMP/said" 2>&1 || { failed=$?; tail -n 20 "$TEMP/said" >&2; die "$1 failed (status $failed), see above"; }
}

# for_all COMMAND…: runs it for all names in $TEMP/batch. They come through a pipe: a busybox that runs its own
# commands without exec would, at the end of each, move the place in a file where its xargs goes on reading.
for_all() {
    cat "$TEMP/batch" | xargs -0 "$@" >"$TEMP/said" 2>&1 ||
        { failed=$?; tail -n 20 "$TEMP/said" >&2; die "$1 failed (status $failed), see above"; }
}

# ---- the store ---------------------------------------------------------------------------------------------------

# absolute DIRECTORY: prints its path; a name may end with newlines, so a dot stands at the end.
absolute() { (cd -- "$1" 2>/dev/null && printf '%s.' "$(pwd -P; printf .)"); }

open_store() {
    STORE=$(absolute "$1") || die "there is no directory $1"
    STORE=${STORE%??}
    STORE=${STORE%?}
    [ -f "$STORE/store.yaml" ] || die "$1 is no Rollpoint store: it has no store.yaml"
    sealed "$STORE/store.yaml" || die "store.yaml is damaged: its checksum does not fit"
    format=$(sed -n 's/^format: *//p' "$STORE/store.yaml")
    [ "$format" = 1 ] || die "the store has format $format, this script knows format 1"
    CHECKSUM=$(sed -n 's/^checksum: *//p' "$STORE/store.yaml")
    [ ! -L "$STORE/tree" ] && [ -d "$STORE/tree" ] || die "the store has no tree/"
}

# sealed FILE: whether a document is what was written: its last line has the SHA-256 of all lines before it.
sealed() {
    [ -r "$1" ] || return 1
    have sha256sum || return 0
    sum=$(sed '$d' "$1" | sha256sum) && [ "$(tail -n 1 "$1")" = "# sha256: ${sum%% *}" ]
}

# read_points: writes $TEMP/points, oldest first: number, id, state (newest, older, damaged).
read_points() {
    : >"$TEMP/points.raw"
    for place in "$STORE"/points/*; do
        id=${place##*/}
        [ -d "$place" ] || continue
        number=$(sed -n 's/^number: *\([0-9][0-9]*\)$/\1/p' "$place/point.yaml" 2>/dev/null)
        state=older
        [ -d "$place/diff" ] || state=newest
        if [ -z "$number" ] || ! sealed "$place/point.yaml"; then
            state=damaged
        fi
        printf '%s\t%s\t%s\n' "${number:-0}" "$id" "$state" >>"$TEMP/points.raw"
    done
    sort -n "$TEMP/points.raw" >"$TEMP/points" || die "cannot sort the list of points"
    [ -s "$TEMP/points" ] || die "the store has no points"
}

# field NAME FILE: prints a line of a point's document, for people.
field() { sed -n "s/^$1: *//p" "$2" 2>/dev/null | sed "s/^'\(.*\)'\$/\1/; s/''/'/g" | head -n 1; }

list_points() {
    say "Points in $STORE, oldest first:"
    while IFS=$TAB read -r number id state; do
        doc=$STORE/points/$id/point.yaml
        note=''
        [ "$state" = older ] || note=" [$state]"
        [ "$(field pinned "$doc")" != true ] || note="$note [pinned]"
        printf '%5s  %s  %s%s  %s\n' "$number" "$id" "$(field created "$doc")" "$note" "$(field comment "$doc")"
    done <"$TEMP/points"
}

# choose POINT: sets POINT (its id) and NUMBER.
choose() {
    awk -F '\t' -v want="$1" '
        want == "latest" || want == "newest" { if ($3 == "newest") print $1 "\t" $2; next }
        $2 == want { found = $0; exact = 1 }
        $1 "" == want "" && !exact { found = $0; exact = 1 }
        index($2, want) == 1 { count++; begins = $0 }
        END { if (exact) print found; else if (count == 1) print begins }' "$TEMP/points" >"$TEMP/chosen"
    IFS=$TAB read -r NUMBER POINT rest <"$TEMP/chosen" || die "there is no point $1, or more than one: see the list"
}

# check_chain: the tree must be a whole point, and the order of all points must be known.
check_chain() {
    if [ -e "$STORE/journal.yaml" ]; then
        die "a snapshot or deletion was interrupted or is under way (journal.yaml): tree/ may be between two points.
  Let Rollpoint put the store right first: python3 $STORE/rescue/rollpoint.pyz --store $STORE repair"
    fi
    awk -F '\t' '
        $3 == "damaged" { print "the document of point " $2 " is damaged, so its place among the points is not known" }
        $3 == "newest" { newest++; at = NR }
        END { if (newest != 1 || at != NR) print "it cannot be told which point tree/ is" }' "$TEMP/points" >"$TEMP/why"
    [ ! -s "$TEMP/why" ] || die "$(cat "$TEMP/why")
  \`rollpoint repair\` may help: python3 $STORE/rescue/rollpoint.pyz --store $STORE repair"
}

# ---- names -------------------------------------------------------------------------------------------------------

# nul_names: escaped names, a line each, become bytes with a NUL behind each: what xargs -0 and rsync --from0 read.
nul_names() { tr '\n' '\000' | xargs -0 sh -c 'for name; do printf "$name\\000"; done' sh; }

# decode NAME: puts the bytes of one escaped name into $decoded (the x keeps newlines at its end).
decode() {
    case $1 in
        *\\*) decoded=$(printf "$1x"); decoded=${decoded%x} ;;
        *) decoded=$1 ;;
    esac
}

# escaped_names: the reverse of nul_names, in the form that changes.zst has: a line each, without ./, "-" for the root.
escaped_names() {
    od -An -v -t o1 | awk '
        BEGIN {
            for (i = 33; i < 127; i++) {
                c = sprintf("%c", i)
                if (!index("\\%+:@", c)) plain[sprintf("%03o", i)] = c
            }
        }
        {
            for (i = 1; i <= NF; i++)
                if ($i != "000") name = name (($i in plain) ? plain[$i] : "\\" $i)
                else {
                    sub(/^\.\//, "", name)
                    print name == "." ? "-" : name == "-" ? "\\055" : name
                    name = ""
                }
        }'
}

# inventory MARK: prints the escaped names of all that is in the current directory, but for MARK (x//y is never one).
inventory() {
    find . -path "./$1" -prune -o ! -path '*[! -~]*' -print >"$TEMP/plain" || return 1
    find . -path "./$1" -prune -o -path '*[! -~]*' -print0 >"$TEMP/odd" || return 1
    sed -e 's/\\/\\134/g' -e 's/ /\\040/g' -e 's/%/\\045/g' -e 's/+/\\053/g' -e 's/:/\\072/g' -e 's/@/\\100/g' \
        -e 's/^\.\/-$/.\/\\055/' -e 's/^\.$/.\/-/' -e 's/^\.\///' "$TEMP/plain" || return 1
    escaped_names <"$TEMP/odd"
}

# links_in_tree: prints inode number and escaped name of all that has several names in tree/.
links_in_tree() {
    find . ! -type d -links +1 -print0 >"$TEMP/linked" || return 1
    [ -s "$TEMP/linked" ] || return 0
    cat "$TEMP/linked" | xargs -0 stat -c %i -- >"$TEMP/inodes" || return 1
    escaped_names <"$TEMP/linked" | paste "$TEMP/inodes" -
}

# ---- the plan ----------------------------------------------------------------------------------------------------

# gather: writes $TEMP/records, all lines of the differences on the way, newest first, after checking their sums.
gather() {
    : >"$TEMP/records"
    sort -rn "$TEMP/points" | awk -F '\t' -v to="$NUMBER" '$3 != "newest" && $1 + 0 >= to + 0' >"$TEMP/way"
    while IFS=$TAB read -r number id state; do
        [ -f "$STORE/points/$id/diff/changes.zst" ] || die "point $id has no diff/changes.zst: the store is damaged"
        check_sums "$id" changes.zst
        printf 'point\t%s\n' "$id" >>"$TEMP/records"
        zstd -dc -q -- "$STORE/points/$id/diff/changes.zst" >>"$TEMP/records" ||
            die "changes.zst of point $id cannot be unpacked: it is damaged"
    done <"$TEMP/way"
}

# check_sums ID FILE…: compares files of a difference with its SHA256SUMS.
check_sums() {
    sums=$STORE/points/$1/diff/SHA256SUMS
    [ -f "$sums" ] || die "point $1 has no diff/SHA256SUMS: the store is damaged"
    point=$1
    shift
    for file; do
        awk -v file="$file" '$2 == file && length($1) == 64' "$sums" >"$TEMP/sum"
        [ -s "$TEMP/sum" ] || die "$file of point $point is not listed in SHA256SUMS: the store is damaged"
        have sha256sum || continue
        (cd "$STORE/points/$point/diff" && sha256sum -c "$TEMP/sum" >/dev/null 2>&1) ||
            die "$file of point $point is damaged: its checksum does not fit"
    done
}

# make_plan: works out, from the records and the names in tree/, what has to be done; writes $TEMP/plan.*.
#   plan.dirs     directories to make, outer ones first           plan.copy    what does not differ from tree/
#   plan.anchors  of these, what others are hard-linked to        plan.own     files whose content is in tree/ as it is
#   plan.members  contents in packs: point pack offset size to    plan.build   contents put together: path base deltas
#   plan.nodes    symbolic links, FIFOs, sockets, devices         plan.links   hard links: existing, new
#   plan.attr.f plan.attr.d   mode uid gid mtime path             plan.xattr.f plan.xattr.d   as setfattr reads them
#   plan.sums     path size checksum                              plan.names   all names that must be there in the end
make_plan() {
    (cd "$STORE/tree" && links_in_tree) >"$TEMP/links" || die "tree/ cannot be read"
    (cd "$STORE/tree" && inventory x//y) >"$TEMP/names" || die "tree/ cannot be read"
    for name in dirs copy anchors own members build nodes links attr.f attr.d xattr.f xattr.d sums names; do
        : >"$TEMP/plan.$name"
    done
    : >"$TEMP/why"
    awk -F '\t' -v plan="$TEMP/plan." -v why="$TEMP/why" -v root="$(id -u)" -v mark="${SCRATCH##*/}" '
        function stop(text) { if (!stopped) print text >why; stopped = 1; exit 1 }

        # The way to write a name so that it is safe as a word of a command.
        function word(path) { return path == "-" ? "." : "./" path }
        function parent(path) { return match(path, "/[^/]*$") ? substr(path, 1, RSTART - 1) : "-" }

        # Nanoseconds as seconds, with a point before the last nine digits: awk cannot count that far.
        function stamp(ns, sign) {
            if (substr(ns, 1, 1) == "-") { sign = "-"; ns = substr(ns, 2) }
            while (length(ns) < 10) ns = "0" ns
            return sign substr(ns, 1, length(ns) - 9) "." substr(ns, length(ns) - 8)
        }

        # --- the records: what each path was, walking from the newest point backwards ---
        # record[path] is its line in the oldest difference so far; chain[path] says where that content comes from:
        # "T NAME" (a file of tree/) or "P POINT PACK OFFSET SIZE", then "D POINT PACK OFFSET SIZE" for each delta.
        # group[n] is the file of tree/ that the members of hard-link group n are names of, when it is still there.

        # The content of a path in the state one point newer.
        function newer(path) {
            if (!(path in record)) return "T " path
            if (substr(record[path], 1, 1) != "f") stop("the records disagree about " path)
            return chain[path]
        }
        # The content that a record of this difference stands for.
        function content(path, depth, field, step, steps, i, name, out) {
            split(fresh[path], field, "\t")
            if (field[1] != "f" || field[10] == ".") return ""
            if (depth > 2) stop("the records of hard links go round in circles at " path)
            steps = split(field[10], step, "+")
            for (i = 1; i <= steps; i++) {
                name = path
                if (match(step[i], /:.*/)) {
                    name = substr(step[i], RSTART + 1)
                    step[i] = substr(step[i], 1, RSTART - 1)
                }
                if (step[i] == "=" && i == 1) out = newer(name)
                else if (step[i] == "l" && steps == 1) out = name in fresh ? content(name, depth + 1) : newer(name)
                else if (step[i] ~ /^p[0-9]+@[0-9]+,[0-9]+$/ && i == 1) out = member("P", step[i])
                else if (step[i] ~ /^d[0-9]+@[0-9]+,[0-9]+$/ && i > 1) out = out " " member("D", step[i])
                else stop("a record cannot be read: " step[i])
            }
            return out
        }
        function member(kind, text, number) {
            split(substr(text, 2), number, /[@,]/)
            return kind " " point " " number[1] " " number[2] " " number[3]
        }

        # End of one difference: its records become the state.
        function settle(path, field, name) {
            for (path in fresh) {
                made[path] = content(path, 0)
                split(fresh[path], field, "\t")
                if (field[10] ~ /^l:/ && field[8] != "-") {
                    name = substr(field[10], 3)
                    if (!(name in fresh) && !(name in record)) group[field[8]] = name
                }
            }
            for (path in fresh) { record[path] = fresh[path]; chain[path] = made[path] }
            split("", fresh)
            split("", made)
        }

        # --- what has to be made ---
        function need_dir(path, field) {
            if (path in wanted_dir) return
            wanted_dir[path] = 1
            if (path != "-") need_dir(parent(path))
            if (!(path in record)) needed[path] = 1
            else if (substr(record[path], 1, 1) != "d") stop("the records disagree about " path)
            print word(path) >(plan "dirs")
        }
        function finish(path) {
            settle()
            if (mark in record) stop("the point itself has something called " mark)
            for (path in record) {
                if (substr(record[path], 1, 1) == "-") continue
                if (path != "-") need_dir(parent(path))
                make(path)
            }
        }
        function make(path, f, to) {
            split(record[path], f, "\t")
            print path >(plan "names")
            if (f[8] != "-" && f[1] != "d") {
                to = f[8] in leader ? leader[f[8]] : anchor(f[8])
                leader[f[8]] = to == "" ? path : to
                if (to != "") {
                    print word(to) "\t" word(path) >(plan "links")
                    return
                }
            }
            if (f[1] == "d") need_dir(path)
            else if (f[1] == "f") make_file(path, f)
            else make_node(path, f)
            attributes(path, f)
        }
        # The unchanged file of tree/ that a hard-link group belongs to, or "".
        function anchor(number, name, count, names, i, found) {
            if (!(number in group)) return ""
            count = 1
            names[1] = group[number]
            if (names[1] in inode) count = split(members[inode[names[1]]], names, "\n")
            for (i = 1; i <= count; i++)
                if (!(names[i] in record)) {
                    found = names[i]
                    needed[found] = 1
                    need_dir(parent(found))
                    print word(found) >(plan "anchors")
                }
            return found
        }
        function make_file(path, f, part, parts, i, line, base) {
            print path "\t" f[6] "\t" f[9] >(plan "sums")
            parts = split(chain[path], part, " ")
            if (parts == 0) {
                if (f[6] != 0) stop("nothing is recorded about the content of " path)
                print word(path) "\t-" >(plan "build")
            } else if (parts == 2 && part[2] == path) {
                print word(path) >(plan "own")
                needed_in_tree[path] = 1
            } else if (parts == 5 && part[1] == "P") {
                print part[2] "\t" part[3] "\t" part[4] "\t" part[5] "\t" word(path) >(plan "members")
            } else {
                if (part[1] == "T") { base = word(part[2]); needed_in_tree[part[2]] = 1; i = 3 }
                else { base = piece(part, 1); i = 6 }
                for (line = word(path) "\t" base; i < parts; i += 5) line = line "\t" piece(part, i)
                print line >(plan "build")
            }
        }
        function piece(part, i) {
            pieces++
            print part[i + 1] "\t" part[i + 2] "\t" part[i + 3] "\t" part[i + 4] "\t@" pieces >(plan "members")
            return "@" pieces
        }
        function make_node(path, f, target) {
            target = f[12]
            if (substr(target, 1, 1) == "-") target = "\\055" substr(target, 2)
            if (f[1] == "b" || f[1] == "c") {
                if (root != 0) { print path >(plan "devices"); left_out[path] = 1; return }
                target = int(f[7] / 256) % 4096 + int(f[7] / 17592186044416) * 4096
                target = target "\t" f[7] % 256 + int(f[7] / 1048576) % 16777216 * 256
            }
            print f[1] "\t" word(path) "\t" target >(plan "nodes")
        }
        function attributes(path, f, list, mode, i, count, at, name) {
            if (path in left_out) return
            list = f[1] == "d" ? "d" : "f"
            mode = f[1] == "l" ? "-" : substr("00000" f[2], length(f[2]) + 1)
            print mode "\t" f[3] "\t" f[4] "\t" stamp(f[5]) "\t" word(path) >(plan "attr." list)
            if (f[13] == "-") return
            print "# file: " word(path) >(plan "xattr." list)
            count = split(f[13], at, ",")
            for (i = 1; i <= count; i++) {
                match(at[i], /=[0-9a-f]*$/)
                name = substr(at[i], 1, RSTART - 1)
                gsub(/=/, "\\075", name)
                print name "=" (RLENGTH > 1 ? "0x" substr(at[i], RSTART + 1) : "\"\"") >(plan "xattr." list)
            }
            print "" >(plan "xattr." list)
        }

        what == "links" { 
            inode[$2] = $1
            if ($1 in members) members[$1] = members[$1] "\n" $2; else members[$1] = $2
            next
        }
        what == "records" && $1 == "point" { settle(); point = $2; next }
        what == "records" {
            if (NF != 13) stop("a record of point " point " cannot be read")
            fresh[$11] = $0
            next
        }
        what == "names" {
            if (!finished) { finished = 1; finish() }
            if ($0 == mark) stop("tree/ itself has something called " mark)
            delete needed_in_tree[$0]
            if ($0 in record) next
            above = parent($0)
            if ($0 != "-" && above in record && substr(record[above], 1, 1) != "d")
                stop("the records disagree about " $0)
            delete needed[$0]
            print $0 >(plan "names")
            if ($0 != "-") print word($0) >(plan "copy")
        }
        END {
            if (stopped) exit 1
            for (path in needed) stop("tree/ lacks " path)
            for (path in needed_in_tree) stop("tree/ lacks " path)
        }' what=links "$TEMP/links" what=records "$TEMP/records" what=names "$TEMP/names" ||
        die "no plan can be made, the store is damaged: $(cat "$TEMP/why")"
}

# ---- contents ----------------------------------------------------------------------------------------------------

# sparse_copy FROM TO: copies a file's content; empty blocks become holes.
sparse_copy() {
    if [ -n "$CP" ]; then
        run "$CP" --sparse=always -- "$1" "$2"
    elif [ "$(wc -c <"$1")" -lt "$LARGE" ]; then
        cat <"$1" >"$2" || die "a file cannot be written"
    else
        run rsync -S "$1" "$2"
    fi
}

# unpack_members: takes all contents that are needed out of the packs, each pack unpacked once.
unpack_members() {
    sort -t "$TAB" -k1,1 -k2,2n -k3,3n "$TEMP/plan.members" >"$TEMP/members" || die "sort failed"
    cut -f1,2 "$TEMP/members" | sort -u >"$TEMP/packs"
    [ ! -s "$TEMP/packs" ] || say "unpacking $(lines packs) packs"
    while IFS=$TAB read -r id number; do check_sums "$id" "$(pack_name "$number")"; done <"$TEMP/packs"
    open='' count=0
    while IFS=$TAB read -r id number offset size to; do
        pack=$STORE/points/$id/diff/$(pack_name "$number")
        count=$((count + 1))
        [ $((count % 1000)) -ne 0 ] || say "  $count contents unpacked"
        case $to in
            @*) file=$SCRATCH/piece.${to#@} ;;
            *) decode "$to"; file=$DIR/$decoded ;;
        esac
        [ ! -e "$file" ] && [ ! -L "$file" ] || die "$to is there already: the store is damaged"
        case $to in
            @*) unpack "$pack" "$offset" "$size" "$file" ;;
            *)
                if [ "$size" -lt "$LARGE" ]; then
                    unpack "$pack" "$offset" "$size" "$file"
                else
                    unpack "$pack" "$offset" "$size" "$SCRATCH/member"
                    sparse_copy "$SCRATCH/member" "$file"
                    rm -f -- "$SCRATCH/member"
                fi ;;
        esac
    done <"$TEMP/members"
    rm -f -- "$SCRATCH/pack"
}

# unpack PACK OFFSET SIZE FILE: writes these bytes of an unpacked pack to a new file. The pack last used stays unpacked.
unpack() {
    if [ "$3" -gt 33554432 ]; then        # the only one in its pack: no second copy of it on the disk
        { zstd -dc -q -- "$1" || : >"$SCRATCH/broken"; } | tail -c +$(($2 + 1)) |
            { head -c "$3"; cat >/dev/null; } >"$4" || die "$1 cannot be unpacked"
        [ ! -e "$SCRATCH/broken" ] || die "$1 cannot be unpacked"
        [ "$(wc -c <"$4")" -eq "$3" ] || die "$1 ends too early"
        return
    fi
    if [ "$open" != "$1" ]; then
        zstd -dc -q -- "$1" >"$SCRATCH/pack" || die "$1 cannot be unpacked"
        open=$1
        length=$(wc -c <"$SCRATCH/pack")
    fi
    [ $(($2 + $3)) -le "$length" ] || die "$1 ends too early"
    if [ -n "$DD_COUNTS_BYTES" ]; then
        dd if="$SCRATCH/pack" of="$4" bs=65536 iflag=skip_bytes,count_bytes skip="$2" count="$3" 2>"$TEMP/said" ||
            die "dd failed: $(cat "$TEMP/said")"
    else
        dd if="$SCRATCH/pack" bs=512 skip=$(($2 / 512)) count=$((($3 + 511) / 512)) 2>/dev/null |
            head -c "$3" >"$4" || die "a file cannot be written"
    fi
}

pack_name() { printf 'pack-%03d.tar.zst' "$1"; }

# build_files: makes the contents that are put together from a file (of tree/ or a pack) and deltas.
build_files() {
    while IFS=$TAB read -r path base deltas; do
        decode "$path"
        file=$DIR/$decoded
        [ ! -e "$file" ] && [ ! -L "$file" ] || die "$path is there already: the store is damaged"
        case $base in
            -) : >"$file" || die "a file cannot be written"; continue ;;
            @*) from=$SCRATCH/piece.${base#@} ;;
            *) decode "$base"; from=$STORE/tree/$decoded ;;
        esac
        if [ -n "$deltas" ]; then
            sparse_copy "$from" "$SCRATCH/whole"
            run chmod u+rw "$SCRATCH/whole"     # cp may have made it read-only, as what it copied is
            for delta in $deltas; do        # tabs and @NUMBER, nothing else
                apply_delta "$SCRATCH/whole" "$SCRATCH/piece.${delta#@}"
                rm -f -- "$SCRATCH/piece.${delta#@}"
            done
            from=$SCRATCH/whole
        fi
        sparse_copy "$from" "$file"
        case $from in "$SCRATCH"/*) rm -f -- "$from" ;; esac
    done <"$TEMP/plan.build"
}

# apply_delta FILE DELTA: turns a file into its older version. A delta is a line "rollpoint-delta 1", a line with the
# older version's size, a line OFFSET LENGTH for each run of bytes, an empty line, then the bytes of the runs.
apply_delta() {
    exec 3<"$2"
    IFS= read -r magic <&3 && [ "$magic" = 'rollpoint-delta 1' ] || die "a delta cannot be read"
    read -r size <&3 || die "a delta cannot be read"
    expected=$((18 + ${#size} + 2))
    : >"$TEMP/runs"
    while IFS= read -r line <&3 && [ -n "$line" ]; do
        printf '%s\n' "$line"
    done >"$TEMP/runs"
    run dd if=/dev/null of="$1" bs=1 seek="$size" count=0
    while read -r offset length; do
        blocks=$((length / 4096)) rest=$((length % 4096)) at=$((offset / 4096))
        expected=$((expected + ${#offset} + ${#length} + 2 + length))
        if [ "$blocks" -gt 0 ]; then
            dd of="$1" bs=4096 seek="$at" count="$blocks" conv=notrunc <&3 2>"$TEMP/said" ||
                die "dd failed: $(cat "$TEMP/said")"
        fi
        if [ "$rest" -gt 0 ]; then
            dd of="$1" ibs="$rest" obs=4096 seek=$((at + blocks)) count=1 conv=notrunc <&3 2>"$TEMP/said" ||
                die "dd failed: $(cat "$TEMP/said")"
        fi
    done <"$TEMP/runs"
    exec 3<&-
    [ "$(wc -c <"$2")" -eq "$expected" ] || die "a delta is cut short"
}

# ---- everything else ---------------------------------------------------------------------------------------------

# make_nodes: symbolic links, FIFOs, sockets and devices.
make_nodes() {
    while IFS=$TAB read -r kind path one two; do
        decode "$path"
        name=$DIR/$decoded
        case $kind in
            l) decode "$one"; run ln -s -- "$decoded" "$name" ;;
            p) run mkfifo -- "$name" ;;
            b | c) run mknod -- "$name" "$kind" "$one" "$two" ;;
            s) make_socket "$name" "$path" ;;
            *) die "an entry of unknown kind $kind: $path" ;;
        esac
    done <"$TEMP/plan.nodes"
}

# make_socket NAME SHOWN: no common tool makes a socket, but cp copies one, and there is nearly always one somewhere.
make_socket() {
    if [ ! -e "$SCRATCH/socket" ]; then
        for place in "${TMPDIR:-/tmp}" /run /var/run /dev /tmp "$STORE/tree"; do
            [ ! -d "$place" ] || [ -S "$SCRATCH/socket" ] || find "$place/" -xdev -type s -exec sh -c \
                '[ -S "$2" ] || cp -R -- "$1" "$2"' sh {} "$SCRATCH/socket" \; 2>/dev/null
        done
    fi
    if [ -S "$SCRATCH/socket" ]; then
        run cp -R -- "$SCRATCH/socket" "$1"
    else
        warn "left out, since nothing here can make a socket (its program makes it anew): $2"
        printf '%s\n' "$2" >>"$TEMP/left-out"
    fi
}

make_links() {
    while IFS=$TAB read -r from to; do
        decode "$from"
        name=$DIR/$decoded
        decode "$to"
        run ln -- "$name" "$DIR/$decoded"
    done <"$TEMP/plan.links"
}

# set_attributes WHAT BASE: gives what is listed in plan.attr.WHAT, below BASE, its owner, extended attributes, mode and
# time. In this order: a change of owner drops capabilities, an ACL changes the mode, everything changes the times.
set_attributes() {
    list=$TEMP/attr.$1
    : >"$TEMP/left-out.sorted"
    [ ! -s "$TEMP/left-out" ] || sort "$TEMP/left-out" >"$TEMP/left-out.sorted"
    awk -F '\t' 'FILENAME == ARGV[1] { skip[$0] = 1; next } !($5 in skip)' \
        "$TEMP/left-out.sorted" "$TEMP/plan.attr.$1" >"$list"
    cd "$2" || die "cannot enter $2"
    if [ "$(id -u)" = 0 ]; then
        cut -f2,3 "$list" | sort -u >"$TEMP/owners"
        while IFS=$TAB read -r uid gid; do
            awk -F '\t' -v u="$uid" -v g="$gid" '$2 == u && $3 == g { print $5 }' "$list" | nul_names >"$TEMP/batch"
            for_all chown -h -- "$uid:$gid"
        done <"$TEMP/owners"
    else
        cut -f3 "$list" | sort -u | grep -vx "$(id -g)" >"$TEMP/owners"
        while read -r gid; do
            awk -F '\t' -v g="$gid" '$3 == g { print $5 }' "$list" | nul_names >"$TEMP/batch"
            (for_all chown -h -- ":$gid") 2>/dev/null ||
                warn "not root: cannot give entries to group $gid"
        done <"$TEMP/owners"
    fi
    if [ "$(id -u)" != 0 ]; then        # an ordinary user needs the right to write for setting an attribute
        awk -F '\t' '$1 != "-" { print $5 }' "$list" | nul_names >"$TEMP/batch"
        [ ! -s "$TEMP/batch" ] || for_all chmod u+rw --
    fi
    set_xattrs "$TEMP/plan.xattr.$1"
    cut -f1 "$list" | sort -u | grep -v '^-$' >"$TEMP/modes"
    while read -r mode; do
        awk -F '\t' -v m="$mode" '$1 "" == m "" { print $5 }' "$list" | nul_names >"$TEMP/batch"
        for_all chmod -- "$mode"
    done <"$TEMP/modes"
    set_times "$list"
    cd / || die "cannot enter /"
}

set_xattrs() {
    [ -s "$1" ] || return 0
    if have setfattr; then
        run setfattr -h --restore="$1"
    elif have setfacl; then
        acls <"$1" >"$TEMP/acls"
        [ ! -s "$TEMP/acls" ] || run setfacl --restore="$TEMP/acls"
    fi
}

# acls: of a list for setfattr, the ACLs in the form that setfacl reads. The value is 02000000, then for each entry 2
# bytes tag, 2 bytes permissions, 4 bytes id, all little endian.
acls() {
    awk '
        function digit(hex, i) { return index("0123456789abcdef", substr(hex, i, 1)) - 1 }
        function number(hex, i, n) {
            for (i = length(hex) - 1; i > 0; i -= 2) n = n * 256 + 16 * digit(hex, i) + digit(hex, i + 1)
            return n + 0
        }
        BEGIN {
            tags[1] = "user:"; tags[2] = "user"; tags[4] = "group:"; tags[8] = "group"; tags[16] = "mask:"
            tags[32] = "other:"
        }
        /^# file: / { file = $0; next }
        /^system\.posix_acl_(access|default)=0x/ {
            if (file != "") { print file; file = "" }
            value = substr($0, index($0, "=0x") + 3)
            for (i = 9; i < length(value); i += 16) {
                tag = number(substr(value, i, 4))
                perm = number(substr(value, i + 4, 4))
                id = number(substr(value, i + 8, 8))
                line = tags[tag] (tag == 2 || tag == 8 ? ":" id : "") ":"
                line = line (perm >= 4 ? "r" : "-") (perm % 4 >= 2 ? "w" : "-") (perm % 2 ? "x" : "-")
                print (/^system.posix_acl_default/ ? "default:" : "") line
            }
        }
        /^$/ && file == "" { print "" }'
}

# set_times LIST: the modification times, to the nanosecond; entries with the same time in one go.
set_times() {
    sort -t "$TAB" -k4,4 "$1" | cut -f4,5 >"$TEMP/times"
    last=''
    set --
    while IFS=$TAB read -r time path; do
        if [ $# -gt 0 ] && { [ "$time" != "$last" ] || [ $# -ge 200 ]; }; then
            set_time "$last" "$@"
            set --
        fi
        last=$time
        decode "$path"
        set -- "$@" "$decoded"
    done <"$TEMP/times"
    [ $# -eq 0 ] || set_time "$last" "$@"
}

# set_time TIME NAME…: not every touch knows fractions, but tar can make a file with such a time to take it from.
set_time() {
    moment=$1
    shift
    if [ -n "$TOUCH" ]; then
        run "$TOUCH" -h -d "@$moment" -- "$@"
    elif [ -n "$TAR" ]; then
        : >"$TEMP/time"
        (cd "$TEMP" && "$TAR" --format=posix --mtime="@$moment" -cf time.tar time && "$TAR" -xf time.tar) ||
            die "tar cannot set the time @$moment"
        run touch -h -r "$TEMP/time" -- "$@"
    else
        [ "${moment#*.}" = 000000000 ] || SECONDS_ONLY=yes
        run touch -h -d "@${moment%.*}" -- "$@"
    fi
}

# ---- the tools at hand ---------------------------------------------------------------------------------------------

# check_tools TOOL…: ends when one of them is not there.
check_tools() {
    for tool; do
        have "$tool" || die "$tool is needed and not installed"
    done
    have sha256sum || say "note: sha256sum is not installed; the store's own checksums are not compared"
}

# check_all_tools: the same of all that rebuilding a point needs.
check_all_tools() {
    check_tools rsync zstd awk sed grep sort cut paste tr od dd head tail wc cat cmp find xargs stat ln mv cp rm rmdir \
        ls mkdir mkfifo mknod mktemp dirname chmod chown touch id sh
}

# probe_tools: finds out what the tools here can do, by trying it where it matters: in DIR.
probe_tools() {
    mkdir -- "$SCRATCH/one" "$SCRATCH/two" || die "cannot write into $DIR"
    : >"$SCRATCH/one/file"
    KEEP='-aHS --numeric-ids'
    for option in -A -X --modify-window=-1; do
        rsync -a "$option" "$SCRATCH/one/" "$SCRATCH/two/" >/dev/null 2>&1 && KEEP="$KEEP $option"
    done
    case $KEEP in *-A*) ;; *) warn "rsync here cannot copy ACLs: they are left out" ;; esac
    case $KEEP in *-X*) ;; *) warn "rsync here cannot copy extended attributes: they are left out" ;; esac
    printf 12345 >"$SCRATCH/one/file"
    DD_COUNTS_BYTES=$(dd if="$SCRATCH/one/file" iflag=skip_bytes,count_bytes bs=512 skip=1 count=3 2>/dev/null)
    [ "$DD_COUNTS_BYTES" = 234 ] || DD_COUNTS_BYTES=''
    CP='' TOUCH='' TAR=''
    for program in $(candidates cp); do
        [ -n "$CP" ] || ! "$program" --sparse=always "$SCRATCH/one/file" "$SCRATCH/two/file" 2>/dev/null ||
            CP=$program
    done
    touch -d @5 "$SCRATCH/one/file" 2>/dev/null || die "touch here cannot set a time given as @SECONDS"
    for program in $(candidates touch); do
        [ -n "$TOUCH" ] || ! "$program" -h -d @5.5 "$SCRATCH/one/file" 2>/dev/null ||
            ! has_fraction "$SCRATCH/one/file" || TOUCH=$program
    done
    for program in $(candidates tar); do
        [ -n "$TAR" ] || ! (TAR=$program; set_time 5.500000000 "$SCRATCH/two/file") 2>/dev/null ||
            ! has_fraction "$SCRATCH/two/file" || TAR=$program
    done
    rm -rf -- "$SCRATCH/one" "$SCRATCH/two"
}

# candidates PROGRAM: where it is. Some busybox shells take their own ahead of a better one in PATH.
candidates() {
    printf '%s\n' "$1"
    (IFS=:; for place in $PATH; do [ ! -x "$place/$1" ] || printf '%s\n' "$place/$1"; done)
}

# has_fraction FILE: whether its time is 5.5 seconds after 1970.
has_fraction() { case $(stat -c %y -- "$1") in *:05.5*) ;; *) return 1 ;; esac; }

# say_what_is_missing: before the work, what cannot be done here.
say_what_is_missing() {
    if [ "$(id -u)" != 0 ]; then
        count=$(cat "$TEMP/plan.attr.f" "$TEMP/plan.attr.d" | awk -F '\t' -v u="$(id -u)" '$2 != u' | wc -l)
        [ "$count" -eq 0 ] || warn "not root: $count entries of other owners will be yours"
        if [ -s "$TEMP/plan.devices" ]; then
            warn "not root: devices are left out: $(tr '\n' ' ' <"$TEMP/plan.devices")"
        fi
    fi
    names=$(cat "$TEMP/plan.xattr.f" "$TEMP/plan.xattr.d" | awk '/^# file: / { file = substr($0, 9); next }
        /=/ && (!acl || !/^system\.posix_acl_/) && file != "" { print "  " file; file = "" }' \
        acl="$(have setfacl && echo yes)" - | head -n 20)
    if [ -n "$names" ] && ! have setfattr; then
        acls=$(have setfacl || echo ' and ACLs')
        warn "no setfattr here: extended attributes, capabilities$acls are left out of (up to 20 shown):
$names"
    fi
}

# ---- rebuilding ----------------------------------------------------------------------------------------------------

# open_target DIR: it must be new or empty, and not in the store; makes the mark that it is unfinished.
open_target() {
    case $1 in /*) target=$1 ;; *) target=./$1 ;; esac
    outside_of_store "$(dirname -- "$target")" "$1"
    [ -d "$target" ] || mkdir -- "$target" || die "$1 cannot be made"
    outside_of_store "$target" "$1"
    content=$(ls -A -- "$DIR") || die "$1 cannot be read"
    [ -z "$content" ] || die "$1 is not empty: name a new or empty directory"
    if have setfacl; then setfacl -b -k -- "$DIR" 2>/dev/null; fi     # or all that is made here would inherit it
    chmod 00700 "$DIR" || die "$1 is not ours"
    SCRATCH=$DIR/UNFINISHED-restore.$$
    mkdir -- "$SCRATCH" || die "cannot write into $1"
}

# outside_of_store DIRECTORY SHOWN: sets DIR to where it really is, which must not be in the store.
outside_of_store() {
    DIR=$(absolute "$1") || die "there is no directory for $2"
    DIR=${DIR%??}
    DIR=${DIR%?}
    case $DIR/ in "$STORE"/*) die "$2 lies in the store: name another directory" ;; esac
}

# copy_listed LIST OPTION…: copies what is listed from tree/, exactly that and nothing below it.
copy_listed() {
    list=$1
    shift
    [ -s "$list" ] || return 0
    nul_names <"$list" >"$TEMP/batch" || die "the list of names cannot be written"
    run rsync "$@" --no-recursive --no-implied-dirs --from0 --files-from="$TEMP/batch" "$STORE/tree/" "$DIR/"
}

rebuild_older() {
    say "reading the differences"
    gather
    make_plan
    say_what_is_missing
    say "making $(lines plan.sums) files that differ from the newest point, and $(lines plan.nodes) other entries"
    mkdir "$SCRATCH/dirs" || die "cannot write into $DIR"
    grep -v '^\.$' "$TEMP/plan.dirs" | nul_names >"$TEMP/batch"
    for base in "$DIR" "$SCRATCH/dirs"; do
        [ ! -s "$TEMP/batch" ] || (cd "$base" && for_all mkdir --) || exit 1
    done
    copy_listed "$TEMP/plan.own" -S
    unpack_members
    build_files
    make_nodes
    set_attributes f "$DIR"
    # shellcheck disable=SC2086  # KEEP is a list of options
    copy_listed "$TEMP/plan.anchors" $KEEP
    make_links
    say "copying what is as in the newest point"
    # An ordinary user cannot write into directories that are read-only already: their modes come in a second pass.
    # shellcheck disable=SC2086
    [ "$(id -u)" = 0 ] || copy_listed "$TEMP/plan.copy" $KEEP --chmod=Du+rwx
    # shellcheck disable=SC2086
    copy_listed "$TEMP/plan.copy" $KEEP
    set_attributes d "$SCRATCH/dirs"
    # rsync takes "." in a list for all that is in there too, so the directory itself goes by a way of its own.
    cut -f5 "$TEMP/plan.attr.d" | grep -v '^\.$' | nul_names >"$TEMP/batch"
    top=$STORE/tree
    ! grep -q "$TAB\.\$" "$TEMP/plan.attr.d" || top=$SCRATCH/dirs
    # shellcheck disable=SC2086
    run rsync $KEEP --no-recursive --no-implied-dirs --from0 --files-from="$TEMP/batch" "$SCRATCH/dirs/" "$DIR/"
    # shellcheck disable=SC2086
    run rsync $KEEP --exclude='*' "$top/" "$DIR/"
}

rebuild_newest() {
    say "copying the newest point"
    (cd "$STORE/tree" && inventory x//y) >"$TEMP/plan.names" || die "tree/ cannot be read"
    : >"$TEMP/plan.sums"
    : >"$TEMP/plan.attr.d"
    # shellcheck disable=SC2086  # and why twice: see rebuild_older
    [ "$(id -u)" = 0 ] || run rsync $KEEP --chmod=Du+rwx "$STORE/tree/" "$DIR/"
    # shellcheck disable=SC2086
    run rsync $KEEP "$STORE/tree/" "$DIR/"
}

# check_result: every name is there and no other; every content that was put together has its checksum.
check_result() {
    say "checking the result"
    (cd "$DIR" && inventory "${SCRATCH##*/}") >"$TEMP/found" || die "the result cannot be read"
    for name in found plan.names; do sort "$TEMP/$name" >"$TEMP/sorted.$name" || die "sort failed"; done
    { cat "$TEMP/left-out" "$TEMP/plan.devices" 2>/dev/null | sed 's/^\.\///'; } | sort >"$TEMP/absent"
    awk 'FILENAME == ARGV[1] { skip[$0] = 1; next } !($0 in skip)' \
        "$TEMP/absent" "$TEMP/sorted.plan.names" >"$TEMP/must"
    cmp -s "$TEMP/sorted.found" "$TEMP/must" || die "the result does not have the names that it should have"
    [ -s "$TEMP/plan.sums" ] || return 0
    mkdir "$SCRATCH/empty" || die "cannot write into $DIR"
    sums="-c --checksum-choice=$CHECKSUM"
    # shellcheck disable=SC2086  # two words
    if ! rsync -n $sums "$STORE/store.yaml" "$SCRATCH/empty/" >/dev/null 2>&1; then
        say "note: rsync here does not know $CHECKSUM: only the sizes of contents are compared with the recorded ones"
        sums=''
    fi
    cut -f1 "$TEMP/plan.sums" | sed 's/^/.\//' | nul_names >"$TEMP/batch"
    # shellcheck disable=SC2086
    rsync -n $sums --out-format='%C/%l/%n' --no-implied-dirs --from0 --files-from="$TEMP/batch" \
        "$DIR/" "$SCRATCH/empty/" >"$TEMP/sums" || die "rsync cannot read the result"
    awk -F '\t' -v compare="$sums" '
        function escape(name, i, c, out) {      # rsync writes odd bytes as \#ooo, but not tabs
            for (i = 1; i <= length(name); i++) {
                c = substr(name, i, 1)
                if (substr(name, i, 5) ~ /^\\#[0-7][0-7][0-7]$/) { out = out "\\" substr(name, i + 2, 3); i += 4 }
                else out = out (c in escapes ? escapes[c] : c)
            }
            return out
        }
        BEGIN {
            escapes["\\"] = "\\134"; escapes[" "] = "\\040"; escapes["%"] = "\\045"; escapes["+"] = "\\053"
            escapes[":"] = "\\072"; escapes["@"] = "\\100"; escapes["\t"] = "\\011"
        }
        FILENAME == ARGV[1] {
            split($0, part, "/")
            name = escape(substr($0, length(part[1]) + length(part[2]) + 3))
            gsub(/ /, "", part[1])
            if (name == "-") name = "\\055"
            got[name] = part[2] "\t" (compare == "" ? "" : part[1])
            next
        }
        got[$1] != $2 "\t" (compare == "" ? "" : $3) { print "  " $1; wrong = 1 }
        END { exit wrong }' "$TEMP/sums" "$TEMP/plan.sums" >"$TEMP/wrong" ||
        die "these contents are not what was recorded:
$(head -n 20 "$TEMP/wrong")"
}

# close_target: the mark goes, and the time of the directory itself, which that changed, is set again.
close_target() {
    SCRATCH_WAS=$SCRATCH
    SCRATCH=''
    chmod -R u+rwx "$SCRATCH_WAS"
    rm -rf -- "$SCRATCH_WAS" || die "$SCRATCH_WAS cannot be removed; $DIR is whole otherwise"
    time=$(awk -F '\t' '$5 == "." { print $4 }' "$TEMP/plan.attr.d")
    if [ -n "$time" ]; then set_time "$time" "$DIR"; else run touch -r "$STORE/tree" -- "$DIR"; fi
}

rebuild() {
    choose "$1"
    check_chain
    open_target "$2"
    probe_tools
    say "rebuilding point $NUMBER ($POINT) in $DIR"
    if grep -q "^$NUMBER$TAB$POINT${TAB}newest" "$TEMP/points"; then rebuild_newest; else rebuild_older; fi
    check_result
    close_target
    [ -z "$SECONDS_ONLY" ] || warn "touch and tar here know no fractions of seconds: times are set to whole seconds"
    if [ -n "$SOME_LEFT_OUT" ]; then
        say "done: $DIR is point $NUMBER ($POINT), $(lines must) entries, but for what the warnings name"
        exit 3
    fi
    say "done: $DIR is point $NUMBER ($POINT), $(lines must) entries"
}

# ---- virtual machines --------------------------------------------------------------------------------------------

# json_field NAME FILE: prints a text or number of a document of JSON, a line each, as it is written there.
json_field() { sed -n "s/^ *\"$1\": *\"\{0,1\}\(.*[^\",]\)\"*,\{0,1\}\$/\1/p" "$2" 2>/dev/null | head -n 1; }

# whole_inventory POINT: whether the documents of an inventory point are what was written.
whole_inventory() {
    place=$STORE/vms/points/$1
    sealed "$place/point.yaml" && [ -r "$place/files" ] || return 1
    have sha256sum || return 0
    sum=$(awk '/^  "files": /  { found = 1 } found && /"sha256": / { print; exit }' "$place/point.yaml")
    said=$(sha256sum <"$place/files") && case $sum in *"\"${said%% *}\""*) ;; *) return 1 ;; esac
}

list_inventories() {
    say "Inventory points of virtual machines in $STORE, oldest first:"
    for place in "$STORE"/vms/points/*; do
        [ -d "$place" ] || continue
        id=${place##*/}
        note=''
        whole_inventory "$id" || note=' [damaged]'
        [ "$(json_field pinned "$place/point.yaml")" != true ] || note="$note [pinned]"
        printf '  %s  %s%s  %s VMs, %s templates  %s\n' "$id" "$(json_field created "$place/point.yaml")" "$note" \
            "$(json_field machines "$place/point.yaml")" "$(json_field templates "$place/point.yaml")" \
            "$(json_field comment "$place/point.yaml")"
    done
}

# choose_inventory POINT: sets POINT; an id, the beginning of one, or `latest`.
choose_inventory() {
    POINT='' count=0
    for place in "$STORE"/vms/points/*; do
        [ -d "$place" ] || continue
        id=${place##*/}
        case $1 in
            latest) POINT=$id count=1 ;;
            "$id") POINT=$id count=1; break ;;
            *) case $id in "$1"*) POINT=$id count=$((count + 1)) ;; esac ;;
        esac
    done
    [ "$count" = 1 ] || die "there is no inventory point $1, or more than one: see the list"
    whole_inventory "$POINT" || die "inventory point $POINT is damaged: its checksums do not fit"
    # Lines of another form name contents without a path.
    awk 'NF == 5 && length($1) == 64 && $1 !~ /[^0-9a-f]/ && $2 ~ /^0[0-7]+$/ && $3 $4 !~ /[^0-9]/' \
        "$STORE/vms/points/$POINT/files" >"$TEMP/files" || die "the list of files of point $POINT cannot be read"
}

# blob SUM: prints where a content lies.
blob() { rest=${1#??}; printf '%s/vms/blobs/%s/%s' "$STORE" "${1%"$rest"}" "$1"; }

# vm_name SUM PATH: prints what the VM of a vm.cfg is called, as far as it can be shown; nothing for other files.
vm_name() {
    case $2 in *.cfg) ;; *) return ;; esac
    for key in OVM_simple_name name; do
        found=$(sed -n "s/^$key *= *['\"]\(.*\)['\"].*\$/\1/p" "$(blob "$1")" 2>/dev/null | head -n 1 | tr -cd ' -~')
        [ -z "$found" ] || { printf '%s' "$found"; return; }
    done
}

list_files() {
    choose_inventory "$1"
    say "Files in inventory point $POINT, as number, mode, path, VM:"
    number=0
    while read -r sum mode uid gid path; do
        number=$((number + 1))
        printf '%5d  %s  /%s  %s\n' "$number" "$mode" "$path" "$(vm_name "$sum" "$path")"
    done <"$TEMP/files"
}

# choose_file FILE: sets SUM, MODE and OWNER of the one file that has this number, path or name of a VM.
choose_file() {
    wanted=$1 number=0 count=0 SUM='' exact=''
    while [ "${wanted#/}" != "$wanted" ]; do wanted=${wanted#/}; done
    while read -r sum mode uid gid path; do
        number=$((number + 1))
        decode "$path"
        if [ "$number" = "$1" ] || [ "$decoded" = "$wanted" ] || [ "$path" = "$wanted" ]; then
            exact=yes SUM=$sum MODE=$mode OWNER=$uid:$gid
        elif [ -z "$exact" ] && [ "$(vm_name "$sum" "$path")" = "$1" ]; then
            count=$((count + 1)) SUM=$sum MODE=$mode OWNER=$uid:$gid
        fi
    done <"$TEMP/files"
    [ -n "$exact" ] || [ "$count" = 1 ] || die "there is no file $1 in point $POINT, or more than one: see the list"
}

write_file() {
    choose_inventory "$1"
    choose_file "$2"
    case $3 in /*) target=$3 ;; *) target=./$3 ;; esac
    outside_of_store "$(dirname -- "$target")" "$3"
    [ ! -e "$target" ] && [ ! -L "$target" ] || die "$3 is there already: name a new file"
    source=$(blob "$SUM")
    [ -r "$source" ] || die "the content of $2 is gone from the store: $source cannot be read"
    if have sha256sum; then
        said=$(sha256sum <"$source") || die "$source cannot be read"
        [ "${said%% *}" = "$SUM" ] || die "the content of $2 is damaged: the checksum of $source does not fit"
    fi
    # Under its own name it is whole, and its owner's: a vm.cfg may hold passwords.
    part=$target.part.$$ fault=''
    (set -C; : >"$part") || die "$3 cannot be written"
    PART=$part
    cat "$source" >"$part" || die "$3 cannot be written"
    if have sha256sum; then
        said=$(sha256sum <"$part")
        [ "${said%% *}" = "$SUM" ] || die "$3 could not be written whole"
    fi
    if [ "$(id -u)" = 0 ]; then
        chown -- "$OWNER" "$part" || fault="owner $OWNER"
    else
        warn "not root: $3 is yours, and was of $OWNER"
    fi
    [ -n "$fault" ] || chmod -- "$MODE" "$part" || fault="mode $MODE"
    if ! ln -- "$part" "$target" 2>/dev/null; then      # FAT has no hard links
        [ ! -e "$target" ] && [ ! -L "$target" ] || die "$3 is there already: name a new file"
        mv -- "$part" "$target" || die "$3 cannot be written"
    fi
    [ -z "$fault" ] || die "$3 is written, but its $fault cannot be set"
    say "done: $3 is $2 of inventory point $POINT"
    [ -z "$SOME_LEFT_OUT" ] || exit 3
}

here=$(dirname -- "$0")
case $#:${1:-}:${2:-} in
    1:list:|1:vms:) set -- "$here/.." "$1" ;;
    2:*:list|2:*:vms|3:*:*|5:*:vms) ;;
    2:*:*|4:vms:*) [ -f "$here/../store.yaml" ] || usage; set -- "$here/.." "$@" ;;
    *) usage ;;
esac
for word; do [ -n "$word" ] || usage; done
TEMP=$(mktemp -d "${TMPDIR:-/tmp}/restore.XXXXXX") || die "no temporary directory can be made"
case $#:$2 in
    ?:vms) check_tools awk sed head tail tr cat rm dirname chmod chown id ;;
    *) check_all_tools ;;
esac
open_store "$1"
case $#:$2 in
    2:vms) list_inventories ;;
    3:vms) list_files "$3" ;;
    5:vms) write_file "$3" "$4" "$5" ;;
    2:list) read_points; list_points ;;
    *) read_points; rebuild "$2" "$3" ;;
esac
