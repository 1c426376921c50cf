/* A plugin for qemu-user that counts the instructions a guest executes.
 *
 * The guest marks places by closing a file descriptor that can't be open, MARK_BASE + n: the kernel answers EBADF, and
 * the plugin writes "n instructions-so-far" to the file given as `out=FILE`. Every guest program can do that, without a
 * library. The declarations are those of qemu's plugin interface, version 1 (qemu 7.2, Debian 12 ships no header).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { MARK_BASE = 0x5EED0000, MARKS = 0x10000, CLOSE_AARCH64 = 57, CLOSE_ARM = 6 };

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef struct {
  const char *target_name;
  struct { int min, cur; } version;
  bool system_emulation;
  struct { int smp_vcpus, max_vcpus; } system;
} qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                                     uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = 1;

static uint64_t executed;
static int64_t close_number = CLOSE_AARCH64;
static FILE *out;

/* Whole blocks are counted: a block's number of instructions is added when it's entered. */
static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
}

static void on_system_call(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t first, uint64_t a2, uint64_t a3, uint64_t a4,
                           uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != close_number || first < MARK_BASE || first >= (uint64_t)MARK_BASE + MARKS) return;
  fprintf(out, "%" PRIu64 " %" PRIu64 "\n", first - MARK_BASE, executed);
  fflush(out); /* a guest that is killed leaves what it had */
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count, char **arguments) {
  if (count != 1 || strncmp(arguments[0], "out=", 4) != 0) return -1;
  out = fopen(arguments[0] + 4, "w");
  if (!out) return -1;
  if (strcmp(info->target_name, "arm") == 0) close_number = CLOSE_ARM;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
  return 0;
}
