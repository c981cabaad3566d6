//! The same scripts as ansible tasks: installed on the server, run, and reported as changed only when they changed something.

use crate::script::Scripts;

const DIRECTORY: &str = "/usr/local/lib/tarpon-realserver";

/// A task file: `tarpon_realserver` is `apply` (default), `check` or `undo`. For `import_tasks` or `include_tasks`, with `become: true`.
#[must_use]
pub fn ansible(scripts: &Scripts) -> String {
    let mut text = String::from(
        "---\n# Written by tarpon realserver. Include it in a play:\n#   - ansible.builtin.import_tasks: realserver.yml\n\
         # with the variable tarpon_realserver: apply (default), check or undo. Needs no collection and no module but ansible.builtin.\n",
    );
    text.push_str(&format!(
        "- name: The directory of the real server's scripts\n  ansible.builtin.file:\n    path: {DIRECTORY}\n    state: directory\n    mode: \"0755\"\n\
         \x20 when: tarpon_realserver | default('apply') != 'undo'\n  tags: [tarpon_realserver]\n"
    ));
    for (name, content) in [
        ("apply", &scripts.apply),
        ("check", &scripts.check),
        ("undo", &scripts.undo),
    ] {
        text.push_str(&format!(
            "- name: The script {name}.sh\n  ansible.builtin.copy:\n    dest: {DIRECTORY}/{name}.sh\n    mode: \"0755\"\n    content: !unsafe |\n{}\
             \x20 when: tarpon_realserver | default('apply') != 'undo'\n  tags: [tarpon_realserver]\n",
            indented(content)
        ));
    }
    text.push_str(&format!(
        "- name: Prepare the real server\n  ansible.builtin.command: {DIRECTORY}/apply.sh\n  register: tarpon_realserver_applied\n\
         \x20 changed_when: \"'changed:' in tarpon_realserver_applied.stdout\"\n  when: tarpon_realserver | default('apply') == 'apply'\n  tags: [tarpon_realserver]\n\
         - name: Check the real server\n  ansible.builtin.command: {DIRECTORY}/check.sh\n  changed_when: false\n\
         \x20 when: tarpon_realserver | default('apply') != 'undo'\n  tags: [tarpon_realserver]\n\
         - name: Take the preparation back\n  ansible.builtin.command:\n    cmd: {DIRECTORY}/undo.sh\n    removes: {DIRECTORY}/undo.sh\n\
         \x20 register: tarpon_realserver_undone\n  changed_when: \"'changed:' in tarpon_realserver_undone.stdout\"\n\
         \x20 when: tarpon_realserver | default('apply') == 'undo'\n  tags: [tarpon_realserver]\n\
         - name: Remove the scripts\n  ansible.builtin.file:\n    path: {DIRECTORY}\n    state: absent\n\
         \x20 when: tarpon_realserver | default('apply') == 'undo'\n  tags: [tarpon_realserver]\n"
    ));
    text
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|l| {
            if l.is_empty() {
                "\n".to_owned()
            } else {
                format!("      {l}\n")
            }
        })
        .collect()
}
