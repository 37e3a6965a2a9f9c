# shellcheck shell=sh
# Sourced by ./mvnw and ./nanomodel (POSIX sh). It finds what they need, whatever the default java is:
#   find_jdk TREE       exports JAVA_HOME, a JDK at or above TREE's floor
#   find_compiler TREE  checks for a C++ compiler, exports where CMake comes from
# What is missing is named in one line with the command that installs it. As root on Debian and Ubuntu the
# command is run, where their packages have it.

# Whether $1 is a JDK at or above the floor, by its release file; jdk_found is its feature release ("25").
# No process is started: this runs before every command.
jdk_fits() {
  jdk_found=0
  [ -x "$1/bin/javac" ] && [ -r "$1/release" ] || return 1
  while IFS='"' read -r jdk_key jdk_value _; do
    [ "$jdk_key" != JAVA_VERSION= ] || jdk_found=${jdk_value%%[.+-]*}
  done <"$1/release"
  case $jdk_found in
    '' | *[!0-9]*) return 1 ;;
  esac
  [ "$jdk_found" -ge "$jdk_floor" ]
}

# Where the java on the PATH lives, through all its links, into JAVA_HOME.
jdk_on_path() {
  JAVA_HOME=$(command -v java) && JAVA_HOME=$(readlink -f "$JAVA_HOME" 2>/dev/null) || return 1
  JAVA_HOME=${JAVA_HOME%/*}
  JAVA_HOME=${JAVA_HOME%/*}
}

# The newest JDK in the usual folders, into JAVA_HOME.
jdk_newest() {
  jdk_best=0
  for jdk_home in /usr/lib/jvm/* /usr/lib64/jvm/* /usr/java/* /opt/* /opt/java/* /opt/jdk/* /usr/local/openjdk* \
    "$HOME"/.sdkman/candidates/java/* "$HOME"/.jdks/* "$HOME"/.jdks/*/Contents/Home "$HOME"/.gradle/jdks/* \
    "$HOME"/.asdf/installs/java/* "$HOME"/.local/share/mise/installs/java/* \
    /Library/Java/JavaVirtualMachines/*/Contents/Home "$HOME"/Library/Java/JavaVirtualMachines/*/Contents/Home \
    /opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home /usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home; do
    jdk_fits "$jdk_home" && [ "$jdk_found" -gt "$jdk_best" ] && jdk_best=$jdk_found && JAVA_HOME=$jdk_home
  done
  [ "$jdk_best" -gt 0 ]
}

find_jdk() {
  jdk_floor=$(sed -n 's|.*<java.floor>\([0-9]*\)<.*|\1|p' "$1/pom.xml")
  if ! jdk_fits "${JAVA_HOME:-}"; then
    jdk_on_path && jdk_fits "$JAVA_HOME" || jdk_newest || install_jdk || return 1
  fi
  export JAVA_HOME
}

# Debian's name of a JDK that fits, if its packages have one.
jdk_package() {
  for jdk_version in 25 24 23; do
    [ "$jdk_version" -ge "$jdk_floor" ] || continue
    apt-cache show "openjdk-$jdk_version-jdk-headless" >/dev/null 2>&1 || continue
    printf 'openjdk-%s-jdk-headless' "$jdk_version"
    return
  done
}

install_jdk() {
  jdk_command=
  if command -v apt-get >/dev/null; then
    jdk_wanted=$(jdk_package)
    if [ -z "$jdk_wanted" ] && [ "$(id -u)" = 0 ]; then # a fresh container has no package lists yet
      apt-get update -qq >/dev/null 2>&1 || :
      jdk_wanted=$(jdk_package)
    fi
    if [ -n "$jdk_wanted" ]; then
      apt_install "$jdk_wanted" && jdk_newest && return
      jdk_command="sudo apt-get install -y $jdk_wanted"
    fi
  elif command -v dnf >/dev/null; then
    jdk_command="sudo dnf install -y java-latest-openjdk-devel"
  elif command -v pacman >/dev/null; then
    jdk_command="sudo pacman -S --noconfirm jdk-openjdk"
  elif command -v brew >/dev/null; then
    jdk_command="brew install openjdk"
  fi
  if [ -z "$jdk_command" ]; then
    jdk_os=linux jdk_arch=x64
    [ "$(uname)" != Darwin ] || jdk_os=mac
    case $(uname -m) in aarch64 | arm64) jdk_arch=aarch64 ;; esac
    jdk_command="mkdir -p ~/.jdks && curl -fsSL https://api.adoptium.net/v3/binary/latest/25/ga/$jdk_os/$jdk_arch/jdk/hotspot/normal/eclipse | tar -xz -C ~/.jdks"
  fi
  missing "a JDK $jdk_floor or newer is needed and none was found (is it elsewhere? set JAVA_HOME)" "$jdk_command"
}

find_compiler() {
  command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
    install_tools g++ "a C++ compiler is needed" || return 1
  command -v make >/dev/null || command -v ninja >/dev/null ||
    install_tools make "make is needed to build the native library" || return 1

  # CMake refuses a build folder that was moved or copied along with its tree.
  if [ -f "$1/build/native/CMakeCache.txt" ]; then
    cmake_tree=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$1/build/native/CMakeCache.txt")
    [ "$cmake_tree/pom.xml" -ef "$1/pom.xml" ] || rm -rf "$1/build/native"
  fi

  # A recent CMake of the system's, or else the one that Maven brings.
  system_cmake=false
  if command -v cmake >/dev/null; then
    cmake_version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ "${cmake_version% *}" -gt 3 ] || [ "${cmake_version#* }" -ge 20 ] && system_cmake=true
  fi
  [ "$system_cmake" = true ] && MAVEN_ARGS="-Dcmake.download=false ${MAVEN_ARGS:-}" ||
    MAVEN_ARGS="-Dcmake.download=true ${MAVEN_ARGS:-}"
  CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
  export MAVEN_ARGS CMAKE_BUILD_PARALLEL_LEVEL
}

# install_tools PACKAGE WHY
install_tools() {
  tools_command=
  if command -v apt-get >/dev/null; then
    apt_install "$1" && return
    tools_command="sudo apt-get install -y g++ make"
  elif command -v dnf >/dev/null; then
    tools_command="sudo dnf install -y gcc-c++ make"
  elif command -v pacman >/dev/null; then
    tools_command="sudo pacman -S --noconfirm gcc make"
  elif command -v apk >/dev/null; then
    tools_command="sudo apk add g++ make"
  elif [ "$(uname)" = Darwin ]; then
    tools_command="xcode-select --install"
  fi
  missing "$2 and none was found" "${tools_command:-install GCC 10 or newer, or Clang 12 or newer}"
}

apt_install() {
  [ "$(id -u)" = 0 ] || return 1
  echo "nanomodel: installing $1 with apt-get" >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1 ||
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } >/dev/null 2>&1
}

missing() {
  echo "nanomodel: $1: $2" >&2
  return 1
}
