#!/usr/bin/env bash
# Runs the tests of a tier of CPU kernels that this processor lacks, in Bochs (README.md says what it needs and how long it takes):
#   tools/tiers/run.sh avx512                              the lines of tests.txt
#   tools/tiers/run.sh avx512bf16 'compute/cpu TestSuite'  only lines that hold this text
#   BOCHS=/opt/bochs/bin/bochs KERNEL=/boot/vmlinuz-6.12 LIMIT=7200 tools/tiers/run.sh amx
set -euo pipefail
tier=${1:?which tier: avx512, avx512bf16 or amx}
only=${2:-}
tools=$(cd "$(dirname "$0")" && pwd)
cd "$tools/../.."
work=${WORK:-${TMPDIR:-/tmp}/lathe-tiers-$tier}
bochs=${BOCHS:-bochs}
root=$work/root

need() {
	command -v "$1" >/dev/null || {
		echo "tiers: no $1 here: $2" >&2
		exit 1
	}
}

# package NAME FILE: unpacks a package of this Debian that is not installed, and prints the path of the file in it.
package() {
	mkdir -p "$work/packages/$1"
	if ! compgen -G "$work/packages/$1/$2" >/dev/null; then
		(cd "$work/packages" && apt-get download -q "$1" >&2 && dpkg-deb -x "$1"_*.deb "$1")
	fi
	compgen -G "$work/packages/$1/$2" | head -1
}

# kernel prints the path of a kernel that knows AMX (5.16 or newer) and drives a serial console without modules.
kernel() {
	if [ -n "${KERNEL:-}" ]; then
		echo "$KERNEL"
		return
	fi
	name=$(apt-cache depends linux-image-6.12-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -1)
	package "${name:?tiers: no kernel known to apt-get here: name a vmlinuz of 5.16 or newer in KERNEL}" 'boot/vmlinuz-*'
}

# copy puts the test programs, the libraries that they are linked to and the data that they read into the image.
copy() {
	mkdir -p "$root"/{bin,proc,sys,dev,tmp}
	cp "$(command -v "${BUSYBOX:-/nonexistent}" || package busybox-static bin/busybox)" "$root/bin/busybox"
	ln -sf busybox "$root/bin/sh"
	cp "$tools/init" "$root/init"
	while read -r package _; do
		mkdir -p "$root/lathe/$package"
		program=$root/lathe/$package/${package##*/}.test
		[ -e "$program" ] || go test -c -ldflags="-s -w" -o "$program" "./$package"
		[ ! -d "$package/testdata" ] || cp -r "$package/testdata" "$root/lathe/$package/"
		ldd "$program" | grep -oE '/[^ ]+' | while read -r library; do
			mkdir -p "$root$(dirname "$library")"
			cp -L "$library" "$root$library"
		done
	done <"$root/lathe/tests"
	cp -r testdata "$root/lathe/"
	cp go.mod "$root/lathe/"
}

# image makes a CD that boots the kernel with the folder as its first file system.
image() {
	mkdir -p "$work/cd/isolinux"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$work/cd/initrd"
	cp "$1" "$work/cd/vmlinuz"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/cd/isolinux/"
	printf 'serial 0 115200\ndefault tiers\nprompt 0\nlabel tiers\n kernel /vmlinuz\n initrd /initrd\n append %s\n' \
		'console=ttyS0,115200 quiet nokaslr mitigations=off panic=-1 random.trust_cpu=on no_timer_check tsc=reliable' >"$work/cd/isolinux/isolinux.cfg"
	xorriso -as mkisofs -quiet -o "$work/tiers.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table "$work/cd" 2>/dev/null
}

case $tier in
avx512 | avx512bf16) exclude=amx,amx_int8,amx_bf16 ;;
amx) exclude= ;;
*)
	echo "tiers: no emulated processor for the tier $tier: it knows avx512, avx512bf16 and amx" >&2
	exit 1
	;;
esac
need "$bochs" "install Bochs 3.0 or newer, built with EVEX and AMX, or name it in BOCHS"
need cpio "apt-get install cpio"
need xorriso "apt-get install xorriso isolinux syslinux-common"
rm -rf "$root" "$work/cd" "$work/console"
mkdir -p "$root/lathe"
sed "s/TIER/$tier/g" "$tools/tests.txt" | grep -v '^#' | grep -F -- "$only" >"$root/lathe/tests"
printf 'export LATHE_CPU_TIER=%s LATHE_THREADS=%s GODEBUG=cpu.aes=off\n' "$tier" "${THREADS:-1}" >"$root/lathe/environment"
copy
image "$(kernel)"
sed "s#@WORK@#$work#g; s#@EXCLUDE@#$exclude#; s#, exclude_features=\"\"##" "$tools/bochsrc" >"$work/bochsrc"
rm -rf "$root" "$work/cd"
# Bochs ends with a panic when the guest switches itself off, so its exit code says nothing.
${NICE:-nice -n 19} timeout "${LIMIT:-7200}" "$bochs" -q -f "$work/bochsrc" >"$work/bochs.out" 2>&1 </dev/null || true
tr -d '\r' <"$work/console" | grep -E '^(guest:|---|    |panic|fatal|Kernel panic)|_test.go' || true
echo "tiers: $tier, $(grep -oE 'Bochs x86 Emulator [^ ]*' "$work/bochs.out" | head -1), $(date -u +%F); the console is $work/console"
if ! grep -q '^guest: done' "$work/console" || grep -qE '^guest: end [1-9][0-9]*:' "$work/console"; then
	echo "tiers: $tier FAILED or did not come to its end (LIMIT is ${LIMIT:-7200} s)" >&2
	exit 1
fi
