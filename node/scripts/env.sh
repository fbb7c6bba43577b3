# Sourced before cargo runs. Finds what the build of RocksDB can use; sets nothing that is not there.
#
# The crate builds its bundled RocksDB where no library is named: correct everywhere, but half an hour on two cores.
# A system library of a release the crate's bindings match links in seconds.
if [ -z "${ROCKSDB_LIB_DIR:-}" ] && [ -r /usr/include/rocksdb/version.h ]; then
    rocksdb_release=$(awk '/^#define ROCKSDB_(MAJOR|MINOR)/ {printf "%s%s", sep, $3; sep="."}' /usr/include/rocksdb/version.h)
    case "$rocksdb_release" in
    7.8 | 7.9 | 7.10 | 8.0 | 8.1)
        for dir in "/usr/lib/$(gcc -print-multiarch 2>/dev/null)" /usr/lib64 /usr/lib; do
            if [ -e "$dir/librocksdb.so" ]; then
                export ROCKSDB_LIB_DIR="$dir"
                break
            fi
        done
        ;;
    esac
    unset rocksdb_release dir
fi
