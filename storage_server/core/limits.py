"""The bounds of the protocol and of what is stored, with their units and reasons.

What bounds only the work inside one module (a cache, a batch, a retry) stands at its head.
"""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

# --- S3 (AWS's published limits unless said) -------------------------------------------------
KEY_BYTES_MAX = 1024
PART_NUMBER_MAX = 10_000
PART_BYTES_MIN = 5 * MIB  # every part but the last
PART_BYTES_MAX = 5 * GIB
PUT_BYTES_MAX = 5 * GIB
OBJECT_BYTES_MAX = 50 * TIB  # AWS's limit since December 2025
COPY_BYTES_MAX = 5 * GIB
LIST_PAGE_MAX = 1000
BUCKETS_PAGE_MAX = 10_000
DELETE_KEYS_MAX = 1000
OBJECT_TAGS_MAX = 10
BUCKET_TAGS_MAX = 50
TAG_KEY_CHARS_MAX = 128
TAG_VALUE_CHARS_MAX = 256
USER_METADATA_BYTES_MAX = 2 * KIB
PRESIGN_SECONDS_MAX = 7 * 86_400
CLOCK_SKEW_SECONDS_MAX = 15 * 60
POST_FORM_FIELD_BYTES_MAX = 20 * KIB  # AWS: form data before the file, in all
CORS_RULES_MAX = 100
CORS_BYTES_MAX = 64 * KIB
CORS_ID_CHARS_MAX = 255
CORS_AGE_S_MAX = 2**31 - 1  # AWS's element is a signed 32-bit number
BUCKET_DOCUMENTS_BYTES_MAX = 56 * KIB  # of one bucket, in all: they lie in one row

# --- Requests --------------------------------------------------------------------------------
HEAD_BYTES_MAX = 32 * KIB  # AWS allows 8 KiB of headers; presigned session URLs run to 16 KiB
HEADERS_COUNT_MAX = 200
XML_BYTES_MAX = 2 * MIB  # a 1,000-key DeleteObjects with 1,024-byte keys, escaped, is 1.5 MiB
COMPLETE_XML_BYTES_MAX = 8 * MIB  # 10,000 parts with every checksum member
XML_DEPTH_MAX = 16
XML_ELEMENTS_MAX = 150_000  # 10,000 parts with every checksum member
CHUNK_HEADER_BYTES_MAX = 4 * KIB  # one aws-chunked size line with its signature
TRAILER_BYTES_MAX = 8 * KIB
DRAIN_BYTES_MAX = 1 * MIB  # what an early error reads of a body before it closes instead

# --- Policies (AWS's quotas; white space counts only in bucket policies) ------------------------
BUCKET_POLICY_BYTES_MAX = 20 * KIB
POLICY_BYTES_MAX = 128 * KIB  # any other document, white space included: AWS's parameter length
MANAGED_POLICY_CHARS_MAX = 6_144
SESSION_POLICY_CHARS_MAX = 2_048
TENANT_POLICY_CHARS_MAX = 10_240  # a service control policy's
TRUST_POLICY_CHARS_MAX = 4_096
POLICY_DEPTH_MAX = 8  # document, statements, statement, condition, operator, values: six
POLICY_STATEMENTS_MAX = 400  # no document of 20 KiB can hold more complete ones

# --- Engine ----------------------------------------------------------------------------------
INLINE_BYTES_MAX = 512  # in the metadata row: beyond that twice the bytes are written
SEGMENT_BODY_BYTES_MAX = 1 * MIB  # appended to a segment; above it a file costs less
SEGMENT_BYTES_MAX = 64 * MIB
SEGMENT_STEP_BYTES = 1 * MIB
CHUNK_BYTES = 64 * KIB  # what one integrity tag covers
EXTENTS_IN_RECORD_MAX = 8
ROW_BYTES_HOT_MAX = 2_000  # larger LMDB values take overflow pages of their own
ROW_BYTES_MAX = 64 * KIB
COMMIT_BYTES_MAX = 1 * MIB
GROUP_MEMBERS_MAX = 64
BACKGROUND_ROWS_MAX = 256  # rows a background commit may touch: 2 ms before its flush
FREE_GRACE_US = 10 * 60 * 1_000_000  # between the last reference and the unlink
UPLOAD_RESULT_KEPT_US = 7 * 86_400 * 1_000_000  # a repeated Complete is answered from its result
GRANT_STEP_BYTES_MAX = 64 * MIB  # one round trip to the tenant per 64 MiB written
GRANT_STEP_OBJECTS_MAX = 65_536
GRANT_STEPS_MIN = 64  # a step is at most this part of a limit, so that few buckets don't hoard it
RECALL_BUCKETS_MAX = 1024  # looked at before a write is refused; the next one looks further on
AUDIT_EVENTS_MAX = 1_000  # of a bucket, while SQL is away: a busy day of configuration changes
AUDIT_BUCKETS_MAX = 100_000  # buckets, deleted ones too, with such events: some 400 MiB of rows
META_MAP_BYTES = 1 * TIB  # address space, not disk
META_READERS_MAX = 1024
SPACE_RESERVE_BYTES = 256 * MIB
SPACE_BALLAST_BYTES = 256 * MIB

assert INLINE_BYTES_MAX < ROW_BYTES_HOT_MAX < ROW_BYTES_MAX < COMMIT_BYTES_MAX
assert BUCKET_DOCUMENTS_BYTES_MAX < ROW_BYTES_MAX
assert SEGMENT_BODY_BYTES_MAX <= SEGMENT_BYTES_MAX
assert CHUNK_BYTES % 4096 == 0

# --- Processes -------------------------------------------------------------------------------
WORKERS_MAX = 256  # S3 workers of an instance
PROCESSES_MAX = 320  # that may hold a place in what they share: workers, those just ending, others
assert WORKERS_MAX < PROCESSES_MAX

# --- Control database ------------------------------------------------------------------------
SQL_WAIT_MAX_S = 10  # for the one writer lock: some thousand changes pass in that time
SQL_CONNECT_TIMEOUT_S = 5
SQL_CONNECTIONS_MAX = 4  # per process: one thread works, a reader may overlap it
CONTROL_PAGE_MAX = 1000  # IAM's largest MaxItems

# --- IAM (AWS's quotas unless said) ----------------------------------------------------------
ATTACHED_POLICIES_MAX = 10  # managed policies per user, group or role
POLICY_VERSIONS_MAX = 5
GROUPS_PER_USER_MAX = 10
ACCESS_KEYS_PER_USER = 2  # a limit "keys" of the user replaces it
IAM_TAGS_MAX = 50
INLINE_CHARS_MAX = {"user": 2_048, "group": 5_120, "role": 10_240}  # in all, without white space
TENANT_POLICIES_MAX = 5  # service control policies per account
USER_NAME_CHARS_MAX = 64  # tenants and roles too
GROUP_NAME_CHARS_MAX = 128
POLICY_NAME_CHARS_MAX = 128
PATH_CHARS_MAX = 512
DISPLAY_NAME_CHARS_MAX = 256
DESCRIPTION_CHARS_MAX = 1_000
ROLE_SESSION_SECONDS_MIN, ROLE_SESSION_SECONDS_MAX = 3_600, 43_200
SECRET_KEY_CHARS_MIN, SECRET_KEY_CHARS_MAX = 8, 256  # imported ones; ours have 40
PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX = 12, 256  # ours; the hash takes any length
