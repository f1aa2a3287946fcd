#!/bin/sh
# Runs inside the Debian 13 build chroot, in /build, where the verified source files lie.
#   rebuild.sh prepare NAME SUFFIX   unpack, adapt to Debian 13, install the build dependencies (needs the mirror)
#   rebuild.sh compile               build as an ordinary user without network; the packages end in /build/debs
# Changing this file changes the recipe, so every cached build made with the old one is left aside.
set -eu
cd /build
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# noautodbgsym: debug symbols are 90 MB nobody reads; terse keeps the log readable
export DEB_BUILD_OPTIONS="nocheck nodoc noautodbgsym terse parallel=${JOBS:-2}" DEB_BUILD_PROFILES="nodoc noudeb"

prepare() {
    name=$1 suffix=$2
    dpkg-source --no-check --extract ./"$name"_*.dsc tree >/dev/null
    cd tree
    # Debian 13 has debhelper 13; the compatibility level is a declaration, the rules need nothing newer
    sed -i -E 's/debhelper-compat \(= 1[4-9]\)/debhelper-compat (= 13)/' debian/control
    # chan_console (a sound card in the server) is all that portaudio serves
    sed -i -E '/^ portaudio19-dev,?$/d' debian/control
    # a build dependency that Debian 13 lacks costs its optional modules only: configure leaves them out
    apt-get --simulate --quiet=2 build-dep . >/dev/null 2>&1 ||
        sed -n '/^Build-Depends:/,/^[A-Z][a-z-]*: *[^ ]/p' debian/control |
        sed -nE 's/^ ([a-z0-9][a-z0-9.+-]*).*/\1/p' | grep -v '^debhelper-compat$' |
            while read -r dependency; do
                apt-get --simulate install "$dependency" >/dev/null 2>&1 && continue
                echo "built without $dependency: Debian 13 here does not have it"
                sed -i -E "/^ $dependency( .*)?,?$/d" debian/control
            done
    version=$(dpkg-parsechangelog -S Version)
    date=$(dpkg-parsechangelog -S Date)
    {
        printf '%s (%s%s) trixie; urgency=medium\n\n  * Rebuild for Debian 13.\n\n' "$name" "$version" "$suffix"
        # the date of the original entry: the same source gives the same timestamps
        printf ' -- clinic-pbx <root@localhost>  %s\n\n' "$date"
        cat debian/changelog
    } > /build/changelog
    mv /build/changelog debian/changelog
    apt-get --yes --quiet=2 --no-install-recommends build-dep . >/dev/null
    useradd --no-create-home --home-dir /build --shell /bin/sh builder
    chown -R builder: /build
}

compile() {
    cd tree
    dpkg-buildpackage --build=binary --no-sign
    mkdir -p /build/debs
    mv /build/*.deb /build/debs/
}

"$@"
