# shellcheck shell=bash
# What the scripts share that make a Debian root of their own; to be sourced.  A root has the package sources of this machine.

skip() {
    echo "skipped: $1"
    exit 0
}

# The script once more, as `SCRIPT --inside DIR ARGUMENT...`: all that it mounts and starts ends with it, and DIR is gone.
inside_own_namespaces() {
    if ((EUID != 0)); then skip "a new root needs root"; fi
    if ! command -v debootstrap >/dev/null; then skip "no debootstrap here (scripts/install-peers)"; fi
    unshare --mount --pid --fork --kill-child true 2>/dev/null || skip "no new mount namespace may be made here"
    work=$(mktemp -d "${TMPDIR:-/tmp}/$(basename "$0").XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    unshare --mount --pid --fork --kill-child "$0" --inside "$work" "$@"
    exit
}

own_codename=$(. /etc/os-release && echo "$VERSION_CODENAME")

# Where this machine has its packages from: sets `mirror` and `components`.
find_mirror() {
    local sources
    sources=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages')
    mirror=$(awk -v codename="$own_codename" '$1 == codename { print $3; exit }' <<<"$sources")
    components=$(awk -v codename="$own_codename" '$1 == codename { print $2 }' <<<"$sources" | sort -u | paste -sd,)
    if [[ -z $mirror ]]; then skip "apt has no source for $own_codename"; fi
}

# logged LOG COMMAND...: its end is shown only if it fails.
logged() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        return 1
    fi
}

# give_network ROOT: names are resolved there as here, and apt finds its way as it does here.
give_network() {
    cp /etc/resolv.conf /etc/hosts "$1/etc/"
    cp -r /etc/apt/apt.conf.d "$1/etc/apt/"
}

# give_pip ROOT HOME: pip reaches its index there as it does here: by its files, its variables (which `pip` then has), and
# the files these name.  Its certificates get a name of their own, so that the root's own ones stay as they are.
give_pip() {
    local root=$1 home=$2 name value
    copy_into "$root" /etc/pip.conf /etc/pip.conf
    copy_into "$root" "${HOME:-/root}/.config/pip" "$home/.config/pip"
    copy_into "$root" "${HOME:-/root}/.pip" "$home/.pip"
    pip=()
    while IFS='=' read -r -d '' name value; do
        case $name in
            PIP_CERT)
                copy_into "$root" "$value" /etc/pip-certificates.pem
                pip+=("PIP_CERT=/etc/pip-certificates.pem")
                continue
                ;;
            PIP_FIND_LINKS | PIP_CONFIG_FILE | PIP_CONSTRAINT) [[ $value != /* ]] || copy_into "$root" "$value" "$value" ;;&
            PIP_*) pip+=("$name=$value") ;;
        esac
    done < <(env -0)
}

copy_into() {
    local root=$1 from=$2 to=$1$3
    if [[ -e $from ]]; then
        mkdir -p "$(dirname "$to")"
        cp -rL "$from" "$to"
    fi
}
