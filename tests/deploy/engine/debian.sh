# shellcheck shell=bash
# Where this machine gets its Debian packages from: the first address of its own apt configuration.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1
}
