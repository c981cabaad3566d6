/*
 * What Tarpon uses of DPDK: the headers bindgen reads, and declarations for what it cannot bind by itself
 * (inline functions, bit fields, a thread-local, macros that are not plain numbers).
 *
 * `struct rte_mbuf` is bound as an opaque type: its members move into unions between DPDK releases, so their places
 * are taken here with offsetof, where the compiler checks the names against whatever release is installed.
 */
#ifndef TARPON_EDGE_H
#define TARPON_EDGE_H

#include <stddef.h>
#include <stdint.h>

#include <rte_config.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* Places of the members of struct rte_mbuf, in bytes. */
enum edge_mbuf_offset {
	EDGE_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	EDGE_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	EDGE_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	EDGE_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	EDGE_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	EDGE_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	EDGE_MBUF_VLAN_TCI = offsetof(struct rte_mbuf, vlan_tci),
	EDGE_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	EDGE_MBUF_NEXT = offsetof(struct rte_mbuf, next),
	EDGE_MBUF_TX_OFFLOAD = offsetof(struct rte_mbuf, tx_offload),
};

/* Shifts inside rte_mbuf.tx_offload. */
enum edge_tx_offload_shift {
	EDGE_TX_L2_LEN_SHIFT = RTE_MBUF_L2_LEN_OFS,
	EDGE_TX_L3_LEN_SHIFT = RTE_MBUF_L3_LEN_OFS,
};

/* rte_mbuf.ol_flags. */
static const uint64_t EDGE_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t EDGE_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t EDGE_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t EDGE_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t EDGE_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t EDGE_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t EDGE_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t EDGE_RX_L4_CKSUM_NONE = RTE_MBUF_F_RX_L4_CKSUM_NONE;
static const uint64_t EDGE_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t EDGE_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;
static const uint64_t EDGE_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t EDGE_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t EDGE_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t EDGE_TX_OFFLOAD_MASK = RTE_MBUF_F_TX_OFFLOAD_MASK;

/* Port offloads. */
static const uint64_t EDGE_RXO_VLAN_STRIP = RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
static const uint64_t EDGE_RXO_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t EDGE_RXO_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t EDGE_RXO_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t EDGE_RXO_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t EDGE_TXO_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t EDGE_TXO_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t EDGE_TXO_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t EDGE_TXO_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t EDGE_TXO_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

/* What RSS may hash over: addresses and ports of IPv4 and IPv6. */
static const uint64_t EDGE_RSS_IP_TCP_UDP = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;

/* Inline functions, one to one. */
uint16_t edge_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n);
uint16_t edge_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n);
struct rte_mbuf *edge_pktmbuf_alloc(struct rte_mempool *pool);
int edge_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int n);
int edge_pktmbuf_take_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int n);
void edge_pktmbuf_free(struct rte_mbuf *frame);
int edge_pktmbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail);
int edge_pktmbuf_linearize(struct rte_mbuf *frame);
uint64_t edge_rdtsc(void);

/* rte_errno is a thread-local behind a macro. */
int edge_errno(void);
/* rte_eth_link has bit fields that newer releases wrap in a union. Speed in Mbit/s. */
int edge_link_get_nowait(uint16_t port, uint32_t *speed, int *up, int *full_duplex);
/* Sends DPDK's log to `sink`, one call a message, with DPDK's level (4 error, 5 warning, 6 notice, ...). 0 or -1. */
int edge_log_to(void (*sink)(uint32_t level, const char *text, size_t length));
/* The same for libbpf and libxdp, if a driver has loaded them: their warnings, as level 5. They print to stderr otherwise. */
void edge_bpf_log_to(void (*sink)(uint32_t level, const char *text, size_t length));

#endif
