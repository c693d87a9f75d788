/* A plugin for qemu's user-mode emulation that counts what the emulated program executes.
 *
 * The program asks by a system call that no kernel has, number 4242: its argument comes back on stderr with
 * the instructions since the last such call. Exact for one thread. The declarations are those of qemu's
 * plugin interface, version 1, which distributions ship without a header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ASK 4242

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum operation { ADD_U64 };

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*call)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(
    struct qemu_plugin_tb *block, enum operation operation, void *counter, uint64_t increment);
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id id, void (*call)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                               uint64_t, uint64_t, uint64_t, uint64_t));

static uint64_t executed;

/* A block of straight code: as often as it is executed, so many instructions are. */
static void on_translation(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
}

static void on_system_call(
    plugin_id id, unsigned cpu, int64_t number, uint64_t label, uint64_t b, uint64_t c, uint64_t d,
    uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == ASK) {
        fprintf(stderr, "instructions %llu %llu\n", (unsigned long long)label, (unsigned long long)executed);
        executed = 0;
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    plugin_id id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    return 0;
}
