/** `RenewCertificate`: the same id again, for the connection that proved it. */
import { create } from '@bufbuild/protobuf';
import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import {
  type RenewCertificateRequest,
  type RenewCertificateResponse,
  RenewCertificateResponseSchema,
} from '../../proto/gen/agent_pb.ts';
import type { Register } from '../certificates.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { statusOf } from './connect.ts';
import type { Origin } from './identity.ts';

export interface RenewDoor {
  /** Null: this server issues no certificates. */
  readonly certificates: Pick<Register, 'renew'> | null;
  readonly log: Log;
}

export type RenewCall = ServerUnaryCall<RenewCertificateRequest, RenewCertificateResponse>;

export function serveRenew(
  { certificates, log }: RenewDoor,
  { call, origin }: { readonly call: RenewCall; readonly origin: Origin },
  answer: sendUnaryData<RenewCertificateResponse>,
): void {
  const run = async () => {
    if (!certificates) throw new Failure('not-implemented', 'this server issues no certificates');
    if (origin.kind !== 'certificate') {
      const how = 'enrol with a one-time token first, and come by the TLS port';
      throw new Failure('unauthenticated', `only who proved itself by a certificate can renew it: ${how}`);
    }
    const { certificatePem, caPem, until } = await certificates.renew(
      origin.certificate,
      call.request.csrPem,
    );
    const notAfterUnix = BigInt(Math.floor(until / 1_000));
    return create(RenewCertificateResponseSchema, { certificatePem, caPem, notAfterUnix });
  };
  run().then(
    (response) => answer(null, response),
    (thrown) => {
      if (!(thrown instanceof Failure)) log.error('renewal ended by a bug', { why: String(thrown) });
      answer(statusOf(thrown), null);
    },
  );
}
