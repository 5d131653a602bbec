// lookup any|a|aaaa NAME: the addresses that this C library finds, one a line.
// lookup ptr ADDRESS: the name that it finds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifndef EAI_NODATA // musl hides it
#define EAI_NODATA -5
#endif

static const char *name_of(int err) {
	switch (err) {
	case EAI_NONAME: return "EAI_NONAME";
	case EAI_NODATA: return "EAI_NODATA";
	case EAI_AGAIN: return "EAI_AGAIN";
	case EAI_FAIL: return "EAI_FAIL";
	}
	return gai_strerror(err);
}

static int reverse(const char *text) {
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	char name[NI_MAXHOST];
	int err;
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		err = getnameinfo((struct sockaddr *)&v4, sizeof v4, name, sizeof name, NULL, 0, NI_NAMEREQD);
	else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
		err = getnameinfo((struct sockaddr *)&v6, sizeof v6, name, sizeof name, NULL, 0, NI_NAMEREQD);
	else
		return 2;
	if (err)
		printf("error %s\n", name_of(err));
	else
		puts(name);
	return 0;
}

int main(int argc, char **argv) {
	if (argc != 3) return 2;
	if (!strcmp(argv[1], "ptr")) return reverse(argv[2]);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
	hints.ai_family = !strcmp(argv[1], "a") ? AF_INET : !strcmp(argv[1], "aaaa") ? AF_INET6 : AF_UNSPEC;
	int err = getaddrinfo(argv[2], NULL, &hints, &all);
	if (err) {
		printf("error %s\n", name_of(err));
		return 0;
	}
	for (struct addrinfo *a = all; a; a = a->ai_next) {
		char text[INET6_ADDRSTRLEN];
		const void *from = a->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
		                                           : (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
		puts(inet_ntop(a->ai_family, from, text, sizeof text));
	}
	freeaddrinfo(all);
	return 0;
}
