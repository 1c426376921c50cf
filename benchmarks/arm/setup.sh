#!/usr/bin/env bash
# Unpacks an emulated board's Python into a folder: Debian's packages for ARM, wheels where there are any, and qemu-user.
# Usage: setup.sh {arm64|armhf} [DIR]     about a minute and 400 MB, or ten seconds and 200 MB; what is there is kept.
#   arm64: Debian 12, Python 3.11, the wheels of requirements.txt; boards pi4 and pi5
#   armhf: Debian 13, Python 3.13, numpy and Pillow as Debian has them; board armv7
# Environment: PYTHON (one with pip, default python3), MIRROR (of Debian).
# Needs apt-get, dpkg-deb and, to count instructions, gcc. Nothing is installed and the host's package state isn't touched.
set -euo pipefail
architecture=${1:?setup.sh arm64|armhf [DIR]}
here=$(cd "$(dirname "$0")" && pwd)
home=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/edge-effnet-arm/$architecture}
mirror=${MIRROR:-http://deb.debian.org/debian}
case $architecture in
  arm64) suite=bookworm; emulator=qemu-aarch64; packages=(python3 libstdc++6 libgcc-s1) ;;
  armhf) suite=trixie; emulator=qemu-arm; packages=(python3 python3-numpy python3-pil python3-pip) ;;
  *) echo "architecture $architecture is unknown; expected arm64 or armhf" >&2; exit 2 ;;
esac
mkdir -p "$home/boards"
cd "$home"
home=$PWD
exec 9> lock
flock 9

apt_for() {  # apt_for ARCHITECTURE SUITE COMMAND…: apt with a state of its own
  local architecture=$1 release=$2; shift 2
  : > apt/status
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" > apt/sources.list
  cat > apt/apt.conf <<EOT
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
EOT
  APT_CONFIG=$home/apt/apt.conf apt-get -q "$@" 9>&-
}

unpack() {  # unpack ARCHITECTURE SUITE TARGET PACKAGE…: the packages and all they depend on
  local architecture=$1 release=$2 target=$3; shift 3
  rm -rf apt "$target.part"
  mkdir -p apt/state/lists/partial apt/cache/archives/partial "$target.part"
  apt_for "$architecture" "$release" update
  apt_for "$architecture" "$release" install -y -d "$@"
  for deb in apt/cache/archives/*.deb; do dpkg-deb -x "$deb" "$target.part"; done
  rm -rf apt
  mv "$target.part" "$target"
}

# The dynamic build: only that loads plugins. Its libraries come along, but for the C library, which is the host's.
if [ ! -x host/usr/bin/$emulator ]; then
  rm -rf host
  unpack "$(dpkg --print-architecture)" bookworm host qemu-user
  find host/usr/bin -type f ! -name $emulator -delete
  find host \( -path '*/ld-*' -o -name 'ld-linux*' -o -name 'libc.so.*' -o -name 'libm.so.*' -o -name 'libmvec*' -o -name 'libpthread*' -o -name 'libdl*' \
    -o -name 'libresolv*' -o -name 'librt.so*' -o -name 'libnss*' -o -name 'libutil*' -o -path '*/gconv*' -o -path '*/share/*' \) \( -type f -o -type l \) -delete
fi

[ -d root ] || unpack "$architecture" "$suite" root "${packages[@]}"
for folder in bin lib sbin; do [ -e "root/$folder" ] || ln -s "usr/$folder" "root/$folder"; done   # base-files would, since Debian 13

if [ "$architecture" = armhf ]; then   # what Debian's alternatives system would link one level up
  for library in blas/libblas.so.3 lapack/liblapack.so.3; do ln -sfn "$library" "root/usr/lib/arm-linux-gnueabihf/${library##*/}"; done
fi

if [ "$architecture" = arm64 ] && ! cmp -s "$here/requirements.txt" site/requirements.txt; then
  platforms=()
  for glibc in 2_34 2_31 2_28 2_27 2_26 2_17; do platforms+=(--platform "manylinux_${glibc}_aarch64"); done
  wheels_for=("${platforms[@]}" --platform manylinux2014_aarch64 --python-version 3.11 --implementation cp --only-binary=:all: --no-deps)
  rm -rf site site.part
  "${PYTHON:-python3}" -m pip download --quiet --dest wheels "${wheels_for[@]}" --requirement "$here/requirements.txt" 9>&-
  "${PYTHON:-python3}" -m pip install --quiet --no-index --find-links wheels --target site.part --no-compile "${wheels_for[@]}" \
    --requirement "$here/requirements.txt" 9>&-
  cp "$here/requirements.txt" site.part/
  mv site.part site
fi

# A board's view: the guest's root, and what the engines' CPU detection reads. With the host's text they crash.
board() {  # board NAME LINE…: lines of one core in /proc/cpuinfo
  local name=$1; shift
  local processors=boards/$name/sys/devices/system/cpu
  mkdir -p "boards/$name/proc" "$processors"
  for entry in root/*; do ln -sfn "$home/$entry" "boards/$name/${entry##*/}"; done
  for core in 0 1 2 3; do printf 'processor\t: %d\n' $core; printf '%s\n' "$@"; echo; done > "boards/$name/proc/cpuinfo"
  for file in possible present online; do echo 0-3 > "$processors/$file"; done
}
arm=$'CPU implementer\t: 0x41'
if [ "$architecture" = arm64 ]; then
  v8=$'CPU architecture: 8'
  board pi4 $'BogoMIPS\t: 108.00' $'Features\t: fp asimd evtstrm crc32 cpuid' "$arm" "$v8" $'CPU variant\t: 0x0' $'CPU part\t: 0xd08' $'CPU revision\t: 3'
  board pi5 $'BogoMIPS\t: 108.00' \
    $'Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp' \
    "$arm" "$v8" $'CPU variant\t: 0x4' $'CPU part\t: 0xd0b' $'CPU revision\t: 1'
else
  board armv7 $'model name\t: ARMv7 Processor rev 4 (v7l)' $'BogoMIPS\t: 38.40' \
    $'Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32' \
    "$arm" $'CPU architecture: 7' $'CPU variant\t: 0x0' $'CPU part\t: 0xd03' $'CPU revision\t: 4'
fi

if [ ! -e counter.so ] || [ "$here/counter.c" -nt counter.so ]; then
  ${CC:-gcc} -O2 -Wall -Wextra -fPIC -shared -fvisibility=hidden -o counter.so "$here/counter.c"
fi
touch ready
echo "ready: $home"
