/*
 * Ployer: deploys applications from Git onto your own machines.
 *
 * Every function answers PLOYER_OK or the kind of what went wrong, and then, where `error` is not NULL, stores an
 * error there that the caller frees. Text is UTF-8 and ends with NUL. Outputs are written only on success. Objects
 * are freed with ployer_free(), each once, and may be used from any thread until then.
 */

#ifndef PLOYER_H
#define PLOYER_H

#include <stdint.h>

/** An open installation and its engine. Freed with ployer_free(). */
typedef struct ployer_t ployer_t;

/** A deployment that was started. Freed with ployer_free(), before its ployer_t. */
typedef struct ployer_deployment_t ployer_deployment_t;

/** What went wrong. Freed with ployer_free(). */
typedef struct ployer_error_t ployer_error_t;

/**
 * What a call ended with. Numbers are never given to another kind.
 */
typedef enum {
  /**
   * It went well.
   */
  PLOYER_OK = 0,
  /**
   * Something does not exist.
   */
  PLOYER_NOT_FOUND = 1,
  /**
   * Something of that name exists already.
   */
  PLOYER_ALREADY_EXISTS = 2,
  /**
   * It does not fit the present state: another engine runs on this data, say.
   */
  PLOYER_CONFLICT = 3,
  /**
   * An argument is not acceptable.
   */
  PLOYER_INVALID = 4,
  /**
   * It is not allowed.
   */
  PLOYER_FORBIDDEN = 5,
  /**
   * Something that is needed does not answer.
   */
  PLOYER_UNAVAILABLE = 6,
  /**
   * It cannot be done here.
   */
  PLOYER_UNSUPPORTED = 7,
  /**
   * What is asked for is no longer kept.
   */
  PLOYER_GONE = 8,
  /**
   * No engine runs on this data.
   */
  PLOYER_NOT_RUNNING = 9,
  /**
   * The work itself failed: a build, a command, a deployment.
   */
  PLOYER_FAILED = 10,
  /**
   * A deadline passed.
   */
  PLOYER_TIMEOUT = 11,
  /**
   * A bound was reached: disk, bytes, number.
   */
  PLOYER_EXHAUSTED = 12,
  /**
   * A defect of Ployer or of the machine.
   */
  PLOYER_INTERNAL = 13,
} ployer_kind_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What an error says: what happened and why, the last lines of output of a deployment, and the next step.
 *
 * \param error  borrowed; NULL is fine.
 * \return borrowed from the error and freed with it; NULL for NULL.
 */
const char *ployer_error_text(const ployer_error_t *error);

/**
 * Opens a data directory, made on first use, and starts the engine: what should run is run from now on.
 *
 * \param data_dir  borrowed; a path.
 * \param port      where applications are served on the loopback interface; 0 takes any free one.
 * \param out       written only on success; the caller owns it.
 * \param error     written only on failure; the caller owns it. May be NULL.
 * \return PLOYER_OK, or PLOYER_CONFLICT if another engine runs on this data, PLOYER_UNAVAILABLE if the port is taken or
 *         the directory cannot be written.
 */
ployer_kind_t ployer_open(const char *data_dir,
                          uint16_t port,
                          ployer_t **out,
                          ployer_error_t **error);

/**
 * Starts a deployment of an application, which is made on first use, and returns at once.
 *
 * \param ployer  borrowed; any thread may use it.
 * \param name    borrowed; the application's name: it becomes a host name.
 * \param source  borrowed; the address of a Git repository, or an absolute path of this machine.
 * \param out     written only on success; the caller owns it.
 * \param error   written only on failure; the caller owns it. May be NULL.
 * \return PLOYER_OK, or PLOYER_INVALID if an argument is not acceptable.
 */
ployer_kind_t ployer_deploy(const ployer_t *ployer,
                            const char *name,
                            const char *source,
                            ployer_deployment_t **out,
                            ployer_error_t **error);

/**
 * Waits until a deployment serves, or has failed. A deployment that fails leaves the version before it serving.
 *
 * \param deployment  borrowed; any thread may use it.
 * \param url         written only on success; borrowed from the deployment and freed with it. Empty for an
 *                    application that takes no requests.
 * \param error       written only on failure; the caller owns it. May be NULL.
 * \return PLOYER_OK, or PLOYER_FAILED with the cause, the last output and the next step as text.
 */
ployer_kind_t ployer_wait(const ployer_deployment_t *deployment,
                          const char **url,
                          ployer_error_t **error);

/**
 * Frees a ployer_t, a ployer_deployment_t or a ployer_error_t.
 *
 * Freeing a ployer_t ends its engine in good order and waits for that; applications go on running, and what was
 * being deployed is taken up when the data directory is opened again. Its deployments must be freed before.
 *
 * \param object  owned; it must not be used afterwards. NULL is fine, and so is no other address.
 */
void ployer_free(void *object);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PLOYER_H */
