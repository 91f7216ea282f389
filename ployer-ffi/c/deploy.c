/*
 * Deploys a folder and prints where it is served: the whole of the C library in one page.
 *
 *   cc deploy.c -I ../include -L ../../target/debug -l ployer_ffi -o deploy
 *   ./deploy DATA_DIR NAME SOURCE
 */

#include <stdio.h>

#include "ployer.h"

/* Says what went wrong, on whose behalf it was tried. */
static int fail(const char *what, ployer_kind_t kind, ployer_error_t *error) {
    fprintf(stderr, "%s: %s (kind %d)\n", what, ployer_error_text(error), (int)kind);
    ployer_free(error);
    return 1;
}

/* Arguments that are not acceptable are refused with an error, never with a crash. */
static int refuses_bad_arguments(const ployer_t *ployer) {
    ployer_error_t *error = NULL;
    ployer_deployment_t *deployment = NULL;
    const char *url = NULL;
    if (ployer_open(NULL, 0, NULL, NULL) != PLOYER_INVALID) return 0;
    if (ployer_deploy(NULL, "shop", "/srv/shop", &deployment, NULL) != PLOYER_INVALID) return 0;
    if (ployer_wait(NULL, &url, NULL) != PLOYER_INVALID) return 0;
    if (ployer_deploy(ployer, "Not A Name", "/srv/shop", &deployment, &error) != PLOYER_INVALID) return 0;
    ployer_free(error);
    ployer_free(NULL);
    return deployment == NULL && url == NULL && ployer_error_text(NULL) == NULL;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: %s DATA_DIR NAME SOURCE\n", arguments[0]);
        return 2;
    }
    ployer_t *ployer = NULL;
    ployer_deployment_t *deployment = NULL;
    ployer_error_t *error = NULL;
    const char *url = NULL;

    ployer_kind_t kind = ployer_open(arguments[1], 0, &ployer, &error);
    if (kind != PLOYER_OK) return fail("open", kind, error);
    if (!refuses_bad_arguments(ployer)) {
        fprintf(stderr, "a bad argument was taken\n");
        ployer_free(ployer);
        return 1;
    }

    int code = 0;
    kind = ployer_deploy(ployer, arguments[2], arguments[3], &deployment, &error);
    if (kind == PLOYER_OK) kind = ployer_wait(deployment, &url, &error);
    if (kind == PLOYER_OK) {
        printf("%s\n", url);
    } else {
        code = fail("deploy", kind, error);
    }
    ployer_free(deployment);
    ployer_free(ployer);
    return code;
}
