#!/usr/bin/env bash
# Unpacks Debian's 32-bit ARM (armhf) Python, numpy and Pillow for qemu-arm, with a view of an ARMv7 board.
# Usage: setup.sh [SUITE] [DIR]   SUITE: trixie (Python 3.13, default) or bookworm (3.11); DIR: where to, about 135 MB.
# Needs Debian's apt and dpkg-deb; nothing is installed, the host's own package state isn't touched.
set -euo pipefail
suite=${1:-trixie}
home=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/edge-effnet-arm32/$suite}
mirror=${MIRROR:-http://deb.debian.org/debian}
mkdir -p "$home/apt/state/lists/partial" "$home/apt/cache/archives/partial" "$home/root" "$home/host" "$home/board/proc"
cd "$home"

apt_for() {  # apt_for ARCHITECTURE SUITE COMMAND…: apt with a state of its own
  local architecture=$1 release=$2; shift 2
  : > apt/status
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" > apt/sources.list
  cat > apt/apt.conf <<EOF
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::State "$home/apt/state";
Dir::State::status "$home/apt/status";
Dir::Cache "$home/apt/cache";
Dir::Etc::sourcelist "$home/apt/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
EOF
  APT_CONFIG=$home/apt/apt.conf apt-get "$@"
}

unpack() {  # unpack ARCHITECTURE SUITE TARGET PACKAGE…: the packages and all they depend on
  local architecture=$1 release=$2 target=$3; shift 3
  rm -rf apt/state/lists apt/cache/archives
  mkdir -p apt/state/lists/partial apt/cache/archives/partial
  apt_for "$architecture" "$release" update -q
  apt_for "$architecture" "$release" install -y -q -d "$@"
  for deb in apt/cache/archives/*.deb; do dpkg-deb -x "$deb" "$target"; done
  rm -rf apt/state/lists apt/cache
}

[ -x root/usr/bin/python3 ] || unpack armhf "$suite" root python3 python3-numpy python3-pil python3-pip
[ -x host/usr/bin/qemu-arm-static ] || unpack "$(dpkg --print-architecture)" bookworm host qemu-user-static
find host -type f ! -name qemu-arm-static -delete

# Debian's alternatives system would link these one level up; unpacked packages must be linked by hand.
libraries=root/usr/lib/arm-linux-gnueabihf
for library in blas/libblas.so.3 lapack/liblapack.so.3; do ln -sfn "$library" "$libraries/${library##*/}"; done

for folder in bin lib sbin; do [ -e "root/$folder" ] || ln -s "usr/$folder" "root/$folder"; done   # trixie's base-files would

# The guest's view: its own root and the board's /proc/cpuinfo (the host's text misleads CPU detection).
for entry in root/*; do ln -sfn "$home/$entry" "board/${entry##*/}"; done
for cpu in 0 1 2 3; do
  printf 'processor\t: %d\nmodel name\t: ARMv7 Processor rev 4 (v7l)\nBogoMIPS\t: 38.40\n' "$cpu"
  printf 'Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32\n'
  printf 'CPU implementer\t: 0x41\nCPU architecture: 7\nCPU variant\t: 0x0\nCPU part\t: 0xd03\nCPU revision\t: 4\n\n'
done > board/proc/cpuinfo
echo "ready: $home"
