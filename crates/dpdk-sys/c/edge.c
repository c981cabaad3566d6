#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>

#include "edge.h"

uint16_t edge_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, frames, n);
}

uint16_t edge_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, frames, n);
}

struct rte_mbuf *edge_pktmbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int edge_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, frames, n);
}
/* As their last holder left them. */
int edge_pktmbuf_take_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int n)
{
	return rte_mempool_get_bulk(pool, (void **)frames, n);
}

void edge_pktmbuf_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

int edge_pktmbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail)
{
	return rte_pktmbuf_chain(head, tail);
}

int edge_pktmbuf_linearize(struct rte_mbuf *frame)
{
	return rte_pktmbuf_linearize(frame);
}

uint64_t edge_rdtsc(void)
{
	return rte_rdtsc();
}

int edge_errno(void)
{
	return rte_errno;
}

int edge_link_get_nowait(uint16_t port, uint32_t *speed, int *up, int *full_duplex)
{
	struct rte_eth_link link = {0};
	int result = rte_eth_link_get_nowait(port, &link);

	*speed = link.link_speed;
	*up = link.link_status;
	*full_duplex = link.link_duplex;
	return result;
}

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	void (*sink)(uint32_t, const char *, size_t) = cookie;

	sink((uint32_t)rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int edge_log_to(void (*sink)(uint32_t level, const char *text, size_t length))
{
	cookie_io_functions_t functions = {.write = log_write};
	FILE *stream = fopencookie(sink, "w", functions);

	if (stream == NULL)
		return -1;
	return rte_openlog_stream(stream);
}

static void (*bpf_sink)(uint32_t level, const char *text, size_t length);

/* Levels of libbpf and libxdp alike: 0 is a warning, 1 information, 2 debugging. */
static int bpf_print(int level, const char *format, va_list arguments)
{
	char text[512];
	int length = vsnprintf(text, sizeof(text), format, arguments);

	if (level == 0 && length > 0)
		bpf_sink(RTE_LOG_WARNING, text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1);
	return length;
}

static void redirect(const char *library, const char *function)
{
	typedef void *(*set_print_t)(int (*)(int, const char *, va_list));
	void *handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
	set_print_t set_print;

	if (handle == NULL)
		return;
	set_print = (set_print_t)dlsym(handle, function);
	if (set_print != NULL)
		set_print(bpf_print);
	dlclose(handle);
}

void edge_bpf_log_to(void (*sink)(uint32_t level, const char *text, size_t length))
{
	bpf_sink = sink;
	redirect("libbpf.so.1", "libbpf_set_print");
	redirect("libxdp.so.1", "libxdp_set_print");
}
