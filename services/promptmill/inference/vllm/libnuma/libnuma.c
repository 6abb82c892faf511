/* A stub of libnuma for machines that do not have it.

   vLLM's CPU kernels are linked to libnuma.so.1, which no wheel carries and minimal images lack.
   They call numa_available() first, and nothing else when it answers -1: "this machine has no
   NUMA policy". The other functions exist only because the dynamic linker looks them up.

   scripts/build-libnuma compiles this file; libnuma.map gives each symbol its version. */

#define UNAVAILABLE(name) int name(void) { return -1; }

UNAVAILABLE(numa_available)
UNAVAILABLE(numa_bitmask_free)
UNAVAILABLE(numa_get_mems_allowed)
UNAVAILABLE(numa_migrate_pages)
UNAVAILABLE(numa_parse_nodestring)
UNAVAILABLE(numa_set_interleave_mask)
UNAVAILABLE(numa_set_membind)
UNAVAILABLE(numa_set_strict)
