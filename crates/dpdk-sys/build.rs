//! Binds the installed DPDK (found by pkg-config) and compiles the wrappers of its inline functions.

use std::{env, path::PathBuf, process::exit};

/// Oldest release whose API the bindings are written against (Debian 12).
const OLDEST: &str = "22.11";

/// The libraries whose functions are called; drivers are plugins that the EAL loads by itself.
const LIBRARIES: [&str; 4] = ["rte_eal", "rte_ethdev", "rte_mempool", "rte_mbuf"];

/// Exactly the functions the `dpdk` crate calls.
const FUNCTIONS: &str = "edge_.*\
    |rte_eal_(init|cleanup|get_runtime_dir|iova_mode|has_hugepages)\
    |rte_thread_(register|unregister)|rte_mp_disable|rte_lcore_id\
    |rte_log_set_(global_)?level|rte_log_set_level_pattern|rte_strerror|rte_version|rte_get_tsc_hz\
    |rte_socket_(count|id_by_idx)|rte_lcore_to_socket_id\
    |rte_pktmbuf_(pool_create|free_bulk)|rte_mempool_(free|lookup|avail_count|in_use_count)\
    |rte_dev_(probe|remove)\
    |rte_eth_dev_(configure|start|stop|close|info_get|set_mtu|get_mtu|socket_id|adjust_nb_rx_tx_desc|get_name_by_port|get_port_by_name|default_mac_addr_set|mac_addr_add|set_link_up|set_link_down)\
    |rte_eth_(rx|tx)_queue_setup|rte_eth_macaddr_get\
    |rte_eth_(promiscuous|allmulticast)_(enable|disable|get)\
    |rte_eth_stats_(get|reset)|rte_eth_xstats_(get|get_names|reset)\
    |rte_eth_find_next_owned_by|rte_eth_iterator_(init|next|cleanup)\
    |rte_eth_add_rx_callback|rte_eth_remove_rx_callback";

const TYPES: &str = "edge_.*|rte_eth_(conf|dev_info|rxconf|txconf|stats|xstat|xstat_name|rx_mq_mode|dev_iterator)|rte_ether_addr|rte_iova_mode";

const VARIABLES: &str = "EDGE_.*|RTE_MAX_LCORE|RTE_MAX_ETHPORTS|RTE_PKTMBUF_HEADROOM|RTE_ETH_NAME_MAX_LEN|RTE_VER_.*|RTE_MEMPOOL_CACHE_MAX_SIZE|RTE_LOG_.*";

fn main() {
    for path in ["build.rs", "c/edge.h", "c/edge.c"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let dpdk = match pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libdpdk")
    {
        Ok(dpdk) => dpdk,
        Err(error) => stop(
            &format!("DPDK {OLDEST} or newer was not found by pkg-config"),
            &error.to_string(),
        ),
    };
    // bindgen panics when there is no libclang; its own message names neither package nor remedy.
    std::panic::set_hook(Box::new(|_| {}));
    if let Err(panic) = std::panic::catch_unwind(bindgen::clang_version) {
        let said = panic.downcast_ref::<String>().map_or("", String::as_str);
        stop(
            "libclang, which bindgen reads DPDK's headers with, was not found",
            said,
        );
    }
    drop(std::panic::take_hook());

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    // What libdpdk.pc asks of the compiler beyond include paths; the pkg-config crate passes on only those.
    // corei7 is the release's own portable baseline (SSE4.2), the same as this workspace's.
    let mut flags = vec!["-include", "rte_config.h"];
    if x86 {
        flags.push("-march=corei7");
    }

    let bindings = bindgen::Builder::default()
        .header("c/edge.h")
        .clang_args(
            dpdk.include_paths
                .iter()
                .map(|path| format!("-I{}", path.display())),
        )
        .clang_args(&flags)
        .allowlist_function(FUNCTIONS)
        .allowlist_type(TYPES)
        .allowlist_var(VARIABLES)
        .opaque_type("rte_mbuf|rte_mempool|rte_device|rte_eth_dev_iterator")
        .generate_comments(false)
        .derive_default(true)
        .prepend_enum_name(false)
        .use_core()
        .generate();
    let bindings = match bindings {
        Ok(bindings) => bindings,
        Err(error) => stop("DPDK's headers could not be read", &error.to_string()),
    };
    bindings
        .write_to_file(out.join("bindings.rs"))
        .expect("OUT_DIR is writable");

    let mut shim = cc::Build::new();
    shim.file("c/edge.c")
        .includes(&dpdk.include_paths)
        .opt_level(3)
        .warnings(false);
    for flag in &flags {
        shim.flag(flag);
    }
    shim.compile("tarpon_dpdk_edge");

    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib={library}");
    }
    println!("cargo:version={}", dpdk.version);
}

/// Ends the build with a message a person can act on.
fn stop(what: &str, detail: &str) -> ! {
    eprintln!("\nerror: {what}.\n");
    eprintln!(
        "Tarpon binds the DPDK installed on this machine. On Debian or Ubuntu install what it needs with"
    );
    eprintln!("    apt-get install dpdk-dev libclang-14-dev pkg-config");
    eprintln!(
        "(dpdk-dev: headers and libraries, {OLDEST} or newer; libclang-14-dev, or a newer one: for bindgen).\n"
    );
    if !detail.trim().is_empty() {
        eprintln!("What was tried:\n{detail}");
    }
    exit(1);
}
